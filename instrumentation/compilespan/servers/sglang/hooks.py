"""What is patched in a process of SGLang.

The names that this rests on, read in SGLang 0.5.23, whose compile files were run against stubs:
``CompilerManager.compile`` (its ``graph_index``, ``num_graphs`` and ``runtime_shape``);
``Scheduler.init_startup_timing_summary``, the last step of a scheduler's start, and the
``startup_time`` that it makes; ``_wait_for_scheduler_ready``, which returns when every scheduler of
the node has said so; and ``Engine._launch_subprocesses`` around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compilespan.dynamo import private
from compilespan.dynamo.patches import Patches
from compilespan.faults import contained
from compilespan.journal.writer import open_journal
from compilespan.ledger.entries import Part
from compilespan.ledger.ledger import get_ledger, mark_ready
from compilespan.servers.activation import take_part
from compilespan.servers.pieces import attributes, bound

if TYPE_CHECKING:
    from collections.abc import Callable

    from compilespan.dynamo.graphs import GraphWatch
    from compilespan.servers.starting import Starting

_PARTS = {"load_weight": "load", "kv_cache_allocation": "kv_cache", "cuda_graph": "capture"}
"""SGLang's phases of a start, as ours are called."""


def install_hooks() -> None:
    """Take part in a start of SGLang."""
    Hooks(*take_part("sglang")).install()


class Hooks:
    """The wrappers around what SGLang compiles, and how it starts."""

    def __init__(self, graphs: GraphWatch, starting: Starting) -> None:
        self._graphs = graphs
        self._starting = starting

    def install(self) -> None:
        """Patch what is imported now, and the rest when it is imported."""
        Patches().apply(
            {private.SGLANG_PIECE: self._piece},
            {private.SGLANG_READY: self._ready},
            {private.SGLANG_LAUNCH: self._launched},
            # On all nodes but the first the launch returns when the server ends.
            {private.SGLANG_WAIT: self._launched},
        )

    def _piece(self, wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        given: dict[str, Any] = {}
        with contained("read the arguments of a graph of SGLang"):
            given = bound(wrapped, args, kwargs)
        if not given:
            return wrapped(*args, **kwargs)
        return self._graphs.around_piece(
            wrapped,
            args,
            kwargs,
            given.get("graph"),
            attributes(given, (given.get("runtime_shape"), given.get("runtime_shape"))),
            lambda torchs: torchs or "bypass",  # SGLang stores handles that it does not load yet
        )

    def _ready(self, wrapped: Callable[..., Any], scheduler: Any, args: Any, kwargs: Any) -> Any:
        result = wrapped(*args, **kwargs)
        with contained("note that a scheduler of SGLang is ready"):
            open_journal()  # also where it has compiled nothing
            for name, seconds in _parts(getattr(scheduler, "startup_time", None)):
                get_ledger().note_part(Part(name, seconds))
            mark_ready()
        return result

    def _launched(self, wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        with self._starting.block():
            return wrapped(*args, **kwargs)


def _parts(startup_time: Any) -> list[tuple[str, float]]:
    if not isinstance(startup_time, Mapping):
        return []
    found = []
    for theirs, ours in _PARTS.items():
        took = startup_time.get(theirs)
        seconds = sum(took.values()) if isinstance(took, Mapping) else took
        if isinstance(seconds, (int, float)) and seconds > 0:
            found.append((ours, float(seconds)))
    return found
