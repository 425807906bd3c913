"""Graph events: one for each graph module handed to AOTAutograd, else to the backend.

Cache results come from Dynamo's event logger, which gets an instant event for each lookup. Only
the key and the bypass reason are copied from its metadata, which also holds times (rule 3).
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, ClassVar

from compilespan import semconv
from compilespan.dynamo import private
from compilespan.dynamo.lookups import Lookups
from compilespan.monitor.surroundings import current_adopter
from compilespan.process.faults import contained

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.util.types import AttributeValue

_RESULTS = {"hit": "hit", "miss": "miss", "bypass": "bypass", "disabled": "bypass"}
# If a graph is looked up several times, the worst result is reported.
_WORST = ("bypass", "miss", "hit")
_MAX_KEYS = 4096
_CALLS = ("call_function", "call_method", "call_module")


class Graph:
    """A graph that is being compiled: its node counts before any pass, and its cache lookups."""

    def __init__(self, module: Any) -> None:
        self._attributes: dict[str, AttributeValue] = {}
        self._noted: dict[str, AttributeValue] = {}
        self._autograd: str | None = None
        self._fx: list[str] = []
        self.lookups = Lookups()
        self.has_failed = False
        """Whether its compile raised."""
        self.is_rebuilt = False
        """Whether code was built for it that a cache entry refers to."""
        self.pool_builds = GraphWatch.pool_builds
        with contained("count the nodes of a graph"):
            operations = [node.op for node in getattr(module, "gm", module).graph.nodes]
            self._attributes[semconv.OP_COUNT] = sum(op in _CALLS for op in operations)
            self._attributes[semconv.NODE_COUNT] = len(operations)

    def looked_up(self, cache: str, result: str, key: object, why: object = None) -> None:
        """Note a cache lookup.

        Args:
            cache: ``autograd`` or ``fx``.
            result: ``hit``, ``miss`` or ``bypass``.
            key: Cache key of the graph; ignored if it is not a string.
            why: Reason of a bypass, in torch's words.
        """
        if result == "bypass" and isinstance(why, str):
            self._attributes[semconv.CACHE_BYPASS_REASON] = semconv.text(why)
        if result == "hit" and isinstance(key, str) and len(GraphWatch.hit_keys) < _MAX_KEYS:
            GraphWatch.hit_keys[key] = None
        if cache == "autograd":
            self._autograd = result
        else:
            self._fx.append(result)
        if isinstance(key, str) and (
            cache == "autograd" or semconv.CACHE_KEY not in self._attributes
        ):
            self._attributes[semconv.CACHE_KEY] = key

    def note(self, attributes: dict[str, AttributeValue]) -> None:
        """Set attributes from the backend; they outweigh ours."""
        self._noted = attributes

    def explain(self, name: str) -> None:
        """Set why the graph was not in the cache, if it was not, and if that can be told."""
        key = self._attributes.get(semconv.CACHE_KEY)
        if self.result == "miss" and key is not None:
            why = self.lookups.why_missed(key, name, is_kept=not self.has_failed)
            if why is not None:
                self._attributes[semconv.CACHE_MISS_REASON] = why

    @property
    def result(self) -> str | None:
        """The combined result of all cache lookups; ``None`` without any."""
        if self._autograd != "hit" and self._fx:
            return next(worst for worst in _WORST if worst in self._fx)
        return self._autograd

    @property
    def attributes(self) -> dict[str, AttributeValue]:
        """The attributes of the graph's event."""
        result = self.result
        if result is None:
            return {**self._attributes, **self._noted}
        if result == "hit" and self.is_rebuilt:
            self._attributes[semconv.CACHE_IS_REBUILT] = True
        return {**self._attributes, semconv.CACHE_RESULT: result, **self._noted}


def _note_compile_id() -> None:
    """Note Dynamo's compile id, which an ahead-of-time compile does not have before its graph."""
    monitor, current = current_adopter(), private.COMPILE_CONTEXT.found()
    if monitor is not None and current is not None and (compile_id := current()) is not None:
        monitor.note_compile_id(str(compile_id))


class GraphWatch(threading.local):
    """The graphs that are being compiled in this thread, innermost last."""

    hit_keys: ClassVar[dict[str, None]] = {}
    """Keys of the first 4096 graphs that this process found in a cache."""
    pool_builds = 0
    """Files that inductor's pool of threads has built in this process."""

    def __init__(self) -> None:
        self._open: list[Graph] = []
        self._pieces = 0
        self.seen = 0
        """Number of graph events reported; callers compare it to detect those reported inside."""

    def clear(self) -> None:
        """Forget all open graphs; called when the outermost window of this thread is left."""
        self._open.clear()
        self._pieces = 0

    def begin(self, module: Any) -> Graph | None:
        """Begin a graph, which gets the cache lookups from now on; ``None`` if that failed."""
        with contained("begin a graph"):
            _note_compile_id()
            graph = Graph(module)
            self._open.append(graph)
            return graph
        return None

    def end(self, graph: Graph | None, *, report: bool = True) -> None:
        """End a graph and report it to the surrounding monitor."""
        if graph is not None:
            with contained("report a graph"):
                self._end(graph, report=report)

    def _end(self, graph: Graph, *, report: bool) -> None:
        if graph in self._open:
            del self._open[self._open.index(graph) :]
        graph.is_rebuilt |= graph.pool_builds != GraphWatch.pool_builds
        monitor = current_adopter()
        if self._pieces:  # inside a piece, which is reported as a whole
            if self._open and graph.result is not None:
                self._open[-1].looked_up("fx", graph.result, None)
        elif report and monitor is not None:
            self.seen += 1
            graph.explain(monitor.unit.name)
            monitor.add_event(semconv.EVENT_GRAPH, graph.attributes)

    def built(self) -> None:
        """Record that this thread builds C++ or a Triton kernel."""
        for graph in self._open:
            graph.is_rebuilt = True
        if not self._open:  # a thread of inductor's pool, for a compile that waits for it
            GraphWatch.pool_builds += 1

    def instant(self, name: str, metadata: Any) -> None:
        """Record an instant event of Dynamo's logger if it is a cache lookup."""
        cache, found, state = name.partition("_cache_")
        if found and self._open and cache in ("autograd", "fx_graph") and state in _RESULTS:
            said = metadata if isinstance(metadata, dict) else {}
            graph, which, result = self._open[-1], cache.partition("_")[0], _RESULTS[state]
            graph.looked_up(which, result, said.get("key"), said.get("cache_bypass_reason"))
            graph.lookups.ended(which, result, said.get("components"))

    def key_computed(self, pickler: Any, details: Any) -> None:
        """Note what AOTAutograd makes the key of the innermost graph of."""
        if self._open:
            self._open[-1].lookups.computed(pickler, details)

    def around(
        self, wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call ``wrapped``, which compiles the graph module that is its first argument."""
        graph = self.begin(args[0] if args else kwargs.get("mod"))
        try:
            return wrapped(*args, **kwargs)
        except BaseException:
            if graph is not None:
                graph.has_failed = True
            raise
        finally:
            self.end(graph)

    @property
    def in_piece(self) -> bool:
        """Whether a backend's piece is being compiled; each piece is reported as a whole."""
        return self._pieces > 0

    def around_piece(
        self,
        wrapped: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        module: Any,
        attributes: dict[str, AttributeValue],
        cache_result: Callable[[str | None], str],
        why_missed: Callable[[], str | None] = lambda: None,
    ) -> Any:
        """Call ``wrapped``, which compiles one piece for a backend that counts its pieces itself.

        Args:
            wrapped: Compiles the piece.
            args: Positional arguments of ``wrapped``.
            kwargs: Keyword arguments of ``wrapped``.
            module: The graph module.
            attributes: Attributes known before the compile: index, count, range.
            cache_result: Returns the cache result to report, given torch's (``None`` without
                lookups). Called after the compile, not if it fails.
            why_missed: Returns why the backend's own cache missed, as far as it is known.
        """
        graph = self.begin(module)
        if graph is None:
            return wrapped(*args, **kwargs)
        graph.note(attributes)
        self._pieces += 1
        try:
            result = wrapped(*args, **kwargs)
        except BaseException:
            self._pieces -= 1
            self.end(graph)
            raise
        self._pieces -= 1
        with contained("find out the cache result of a piece"):
            noted = {**attributes, semconv.CACHE_RESULT: cache_result(graph.result)}
            graph.note(noted)
            if noted[semconv.CACHE_RESULT] == "miss" and (why := why_missed()) is not None:
                graph.note({**noted, semconv.CACHE_MISS_REASON: why})
        self.end(graph)
        return result

    def around_backend(
        self, wrapped: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call the backend; report its graph only if no graph was reported inside (AOTAutograd)."""
        seen = self.seen
        graph = self.begin(args[0] if args else kwargs.get("gm"))
        try:
            return wrapped(*args, **kwargs)
        finally:
            self.end(graph, report=self.seen == seen)
