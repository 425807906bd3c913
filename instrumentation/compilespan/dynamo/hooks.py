"""What is patched in torch, and by what."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from compilespan import scope, semconv
from compilespan.dynamo.calls import Calls
from compilespan.dynamo.graphs import GraphWatch
from compilespan.dynamo.owners import OwnerMemory
from compilespan.dynamo.windows import Windows
from compilespan.patches import Patches

if TYPE_CHECKING:
    from compilespan.components import EncoderNames

_logger = logging.getLogger("compilespan")

Wrapped = Callable[..., Any]
Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class DynamoHooks:
    """The wrappers around torch's choke points, installed and taken back as one.

    Each calls the wrapped function with its arguments untouched and raises what it raises.
    """

    def __init__(self, names: EncoderNames) -> None:
        self._patches = Patches()
        owners = OwnerMemory()
        self.graphs = GraphWatch()
        self._windows = Windows(names, owners, self.graphs)
        self._calls = Calls(names, owners, self.graphs)

    def install(self) -> None:
        """Patch what is imported now, and the rest when it is imported."""
        output_graph = "torch._dynamo.output_graph"
        self._patches.apply(
            (
                # A window that is opened must be closed: both, or neither.
                (
                    "torch._dynamo.metrics_context",
                    {
                        "MetricsContext.__enter__": self._enter,
                        "MetricsContext.__exit__": self._exit,
                    },
                ),
                (
                    "torch._dynamo.callback",
                    {"CompilationCallbackHandler.install_callbacks": self._announce},
                ),
                ("torch._functorch.aot_autograd", {"aot_module_simplified": self._aot_graph}),
                ("torch._dynamo.backends.common", {"aot_module_simplified": self._aot_graph}),
                (output_graph, {"OutputGraph.call_user_compiler": self._backend_graph}),
                (output_graph, {"OutputGraph.compile_subgraph": self._graph_break}),
                ("torch._dynamo.utils", {"ChromiumEventLogger.log_instant_event": self._instant}),
                (
                    "torch._inductor.standalone_compile",
                    {"standalone_compile": self._calls.standalone_compile},
                ),
                ("torch.compiler", {"load_cache_artifacts": self._calls.load_cache_artifacts}),
                (
                    "torch.compiler._cache",
                    {"CacheArtifactManager.populate_caches": self._calls.load_cache_artifacts},
                ),
                (
                    "torch._dynamo.aot_compile",
                    {"AOTCompiledFunction.deserialize": self._calls.load_aot_compiled},
                ),
            )
        )

    def uninstall(self) -> None:
        """Put every patched object back."""
        self._patches.restore()

    def _enter(self, wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
        if self._patches.is_active:
            self._windows.enter(instance)
        return wrapped(*args, **kwargs)

    def _exit(self, wrapped: Wrapped, _: Any, args: Args, kwargs: Kwargs) -> Any:
        try:
            return wrapped(*args, **kwargs)
        finally:
            self._windows.leave(args[1] if len(args) > 1 else None)

    def _announce(self, wrapped: Wrapped, _: Any, args: Args, kwargs: Kwargs) -> Any:
        announced = wrapped(*args, **kwargs)
        try:
            self._windows.announced()
            trigger, compile_id = args if len(args) == 2 else kwargs.values()  # noqa: PLR2004
            if trigger.name == "CUDAGRAPH_RECORDING":
                return self._calls.cudagraph_recording(announced, compile_id)
        except Exception:
            _logger.debug("compilespan: an announcement went unheard", exc_info=True)
        return announced

    def _aot_graph(self, wrapped: Wrapped, _: Any, args: Args, kwargs: Kwargs) -> Any:
        return self.graphs.around(wrapped, args, kwargs)

    def _backend_graph(self, wrapped: Wrapped, _: Any, args: Args, kwargs: Kwargs) -> Any:
        graph_module = args[0] if args else kwargs.get("gm")
        if self._windows.captured(graph_module):
            return wrapped(*args, **kwargs)
        return self.graphs.around_backend(wrapped, args, kwargs)

    def _instant(self, wrapped: Wrapped, _: Any, args: Args, kwargs: Kwargs) -> Any:
        try:
            name = args[0] if args else kwargs.get("event_name")
            metadata = args[2] if len(args) > 2 else kwargs.get("metadata")  # noqa: PLR2004
            self.graphs.instant(str(name), metadata)
        except Exception:
            _logger.debug("compilespan: a cache lookup went unheard", exc_info=True)
        return wrapped(*args, **kwargs)

    def _graph_break(self, wrapped: Wrapped, _: Any, args: Args, kwargs: Kwargs) -> Any:
        try:
            reason = args[1] if len(args) > 1 else kwargs.get("reason")
            monitor = scope.current().monitor
            if monitor is not None and getattr(reason, "graph_break", False):
                monitor.add_event(semconv.EVENT_GRAPH_BREAK, _break_attributes(reason))
        except Exception:
            _logger.debug("compilespan: a graph break went unheard", exc_info=True)
        return wrapped(*args, **kwargs)


def _break_attributes(reason: Any) -> dict[str, str | int]:
    stack = getattr(reason, "user_stack", None) or []
    where = stack[-1] if stack else None
    return {
        semconv.GRAPH_BREAK_REASON: semconv.cut(str(reason.reason)),
        semconv.CODE_FILE_PATH: str(getattr(where, "filename", "")),
        semconv.CODE_LINE_NUMBER: int(getattr(where, "lineno", 0) or 0),
    }
