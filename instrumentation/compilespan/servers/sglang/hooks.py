"""What is patched in a process of SGLang.

The names that this rests on, read in SGLang 0.5.23, whose compile files were run against stubs:
``CompilerManager.compile`` (its ``graph_index``, ``num_graphs`` and ``runtime_shape``);
``ModelRunner.load_model``; ``Scheduler.init_startup_timing_summary``, the last step of a
scheduler's start, and the ``startup_time`` that it makes; ``_wait_for_scheduler_ready``, which
returns when every scheduler of the node has said so; and ``Engine._launch_subprocesses`` around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compilespan.dynamo import private
from compilespan.dynamo.patches import Patches
from compilespan.journal.writer import open_journal
from compilespan.ledger.entries import Mark
from compilespan.ledger.ledger import get_ledger, mark_ready
from compilespan.process import now_ns
from compilespan.process.faults import contained
from compilespan.servers.activation import take_part
from compilespan.servers.loads import loading
from compilespan.servers.pieces import attributes, bound

if TYPE_CHECKING:
    from collections.abc import Callable

    from compilespan.dynamo.graphs import GraphWatch
    from compilespan.servers.starting import Starting


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
            {private.SGLANG_LOAD: loading},
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
            captured_s = _captured_s(getattr(scheduler, "startup_time", None))
            if captured_s > 0:  # the last that a scheduler does before it is ready
                now = now_ns()
                begun_ns = now - int(captured_s * 1e9)
                get_ledger().readiness.note(Mark("capture", begun_ns, now, "cudagraph"))
            mark_ready()
        return result

    def _launched(self, wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        with self._starting.block():
            return wrapped(*args, **kwargs)


def _captured_s(startup_time: Any) -> float:
    """Return how long cudagraphs were captured, as SGLang says it; 0 if it does not."""
    took = startup_time.get("cuda_graph") if isinstance(startup_time, Mapping) else None
    seconds = sum(took.values()) if isinstance(took, Mapping) else took
    return float(seconds) if isinstance(seconds, (int, float)) else 0.0
