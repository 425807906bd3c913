"""Windows of compiles: opened and closed where Dynamo's own metrics context is."""

from __future__ import annotations

import dataclasses
import logging
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from compilespan import semconv
from compilespan.components import EncoderNames, marked_as
from compilespan.dynamo import frames
from compilespan.dynamo.owners import Forward, OwnerMemory
from compilespan.ledger import get_ledger
from compilespan.monitor import Monitor
from compilespan.reasons import reason_class
from compilespan.telemetry import active_telemetry
from compilespan.unit import Unit
from compilespan.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

    from compilespan.dynamo.graphs import Graph, GraphWatch
    from compilespan.semconv import Kind, Outcome, Trigger

_logger = logging.getLogger("compilespan")

# The function that enters the metrics context tells what begins; `_compile` is the usual one.
_BY_CALLER: dict[str, tuple[Trigger, Kind]] = {
    "get_or_compile": ("lazy_backward", "compile"),
    "aot_compile_fullgraph": ("aot_compile", "compile"),
    "compile_fx_aot": ("aot_compile", "compile"),
    "deserialize": ("aot_load", "load"),
    "inner": ("export", "compile"),
}


@dataclasses.dataclass(slots=True)
class Open:
    """A window of this thread, and what its end has to know."""

    window: Window
    trigger: Trigger
    metrics: Any
    graphs_before: int
    code: CodeType | None = None
    owner: Callable[[], Any] = lambda: None
    one_graph: bool = False
    is_recompile: bool = False
    own_graph: Graph | None = None
    """A graph that is told at the end, if none was told from inside."""


class Windows(threading.local):
    """The windows that are open in this thread, innermost last."""

    def __init__(self, names: EncoderNames, owners: OwnerMemory, graphs: GraphWatch) -> None:
        self._names = names
        self._owners = owners
        self._graphs = graphs
        self._open: list[Open | None] = []

    def enter(self, metrics: Any) -> None:
        """A metrics context was entered. Never raises; `leave` is its twin in any case."""
        opened = None
        try:
            opened = self._begin(frames.caller(), metrics)
        except Exception:
            _logger.debug("compilespan: a compile went unseen", exc_info=True)
        self._open.append(opened)

    def leave(self, error: BaseException | None) -> None:
        """It was left, by ``error`` if there is one. Never raises."""
        opened = self._open.pop() if self._open else None
        if opened is None:
            return
        outcome: Outcome | None = None
        try:
            outcome = self._conclude(opened, error)
        except Exception:
            _logger.debug("compilespan: lost what a compile came to", exc_info=True)
        self._graphs.seen = opened.graphs_before  # a nested compile's graphs are not its outer's
        try:
            opened.window.close(
                outcome=outcome or ("failed" if error is not None else "ok"),
                error=error if outcome != "skipped" else None,
            )
        except Exception:
            _logger.debug("compilespan: lost a compile", exc_info=True)

    def captured(self, graph_module: Any) -> bool:
        """Whether a graph that Dynamo hands to its "backend" is only captured for later.

        An ahead-of-time compile captures first and calls the real backend afterwards, outside
        Dynamo's frame; its graph is told then, or at the end where AOTAutograd saw none.
        """
        opened = self._open[-1] if self._open else None
        if opened is None or opened.trigger != "aot_compile":
            return False
        opened.own_graph = self._graphs.begin(graph_module)
        return True

    def announced(self) -> None:
        """Dynamo is about to compile what it announced: by now it knows why it does so again."""
        opened = self._open[-1] if self._open else None
        if opened is not None and opened.is_recompile:
            opened.is_recompile = False  # told once
            reason = str(_metric(opened.metrics, "recompile_reason") or "compiled after a reset")
            opened.window.monitor.add_event(
                semconv.EVENT_RECOMPILE,
                {
                    semconv.RECOMPILE_REASON: semconv.cut(reason),
                    semconv.RECOMPILE_REASON_CLASS: reason_class(reason),
                },
            )

    def _begin(self, frame: FrameType, metrics: Any) -> Open:
        caller = frame.f_code.co_name
        trigger, kind = _BY_CALLER.get(caller, ("dynamo", "compile"))
        if caller == "_compile":
            return self._begin_frame(frame, metrics)
        if trigger == "lazy_backward":
            return self._begin_backward(frame, metrics)
        handed_in = (frames.local(frame, name) for name in ("model", "mod", "fn"))
        given = next((each for each in handed_in if each is not None), None)
        subject = frames.Subject(frame, given=given)
        unit = Unit(
            subject.name or caller,
            trigger,
            kind,
            mark=marked_as(subject.chain),
            by_names=self._names.is_encoder(subject.class_names),
        )
        return self._opened(unit, metrics)

    def _begin_frame(self, frame: FrameType, metrics: Any) -> Open:
        code: CodeType = frames.local(frame, "code")
        compiled_self = (frames.local(frame, "locals") or {}).get("self")
        compile_id = str(frames.local(frame, "compile_id"))
        subject = frames.Subject(frame, compiled_self)
        attributes = frames.code_attributes(code)
        attributes[semconv.BACKEND] = frames.backend_name(frames.local(frame, "compiler_fn"))
        unit = Unit(
            subject.name or code.co_name,
            "dynamo",
            mark=marked_as(subject.chain),
            by_names=self._names.is_encoder(subject.class_names),
            compile_id=compile_id,
            attributes=attributes,
        )
        opened = self._opened(unit, metrics)
        opened.code = code
        opened.one_graph = bool(frames.local(frame, "one_graph"))
        opened.is_recompile = self._owners.compiled_before(subject.owner, code)
        opened.owner = _weakly(subject.owner)
        monitor = opened.window.monitor
        self._owners.remember(
            compile_id,
            Forward(unit.name, unit.by_names if monitor.word is None else monitor.word, attributes),
        )
        return opened

    def _begin_backward(self, frame: FrameType, metrics: Any) -> Open:
        saved = frames.local(frame, "saved_compile_context")
        compile_id = str(getattr(saved, "compile_id", None))
        forward = self._owners.forward(compile_id) or Forward("backward", None, {})
        unit = Unit(
            forward.name,
            "lazy_backward",
            said=forward.is_encoder,
            by_names=False,
            compile_id=compile_id,
            attributes=forward.attributes,
        )
        opened = self._opened(unit, metrics)
        opened.own_graph = self._graphs.begin(frames.local(frame, "bw_module"))
        return opened

    def _opened(self, unit: Unit, metrics: Any) -> Open:
        window = Window(Monitor(unit, active_telemetry()))
        return Open(window, unit.trigger, metrics, self._graphs.seen)

    def _conclude(self, opened: Open, error: BaseException | None) -> Outcome:
        if opened.own_graph is not None:
            seen = self._graphs.seen != opened.graphs_before
            self._graphs.end(opened.own_graph, tell=not seen)
        if error is not None:
            if _over_the_limit(error) and opened.code is not None:
                get_ledger().give_up(opened.code)
                reason = str(_metric(opened.metrics, "recompile_reason") or "")
                opened.window.monitor.add_event(
                    semconv.EVENT_RECOMPILE_LIMIT, {semconv.RECOMPILE_REASON: semconv.cut(reason)}
                )
            return "skipped" if _gives_back(opened, error) else "failed"
        owner = opened.owner()
        if owner is not None and opened.code is not None:
            self._owners.compiled(owner, opened.code)
        graphs = self._graphs.seen - opened.graphs_before
        if opened.trigger == "dynamo" and not (graphs or _metric(opened.metrics, "graph_op_count")):
            return "skipped"
        return "ok"


def _over_the_limit(error: BaseException) -> bool:
    """Whether Dynamo gave the frame up because it recompiled too often."""
    return type(error).__name__ in ("FailOnRecompileLimitHit", "RecompileLimitExceeded") or (
        "recompile limit" in str(getattr(error, "gb_type", ""))
    )


def _gives_back(opened: Open, error: BaseException) -> bool:
    """Whether Dynamo goes on in eager after this exception (torch/_dynamo/convert_frame.py)."""
    exceptions = sys.modules.get("torch._dynamo.exc")
    soft = tuple(
        found
        for name in ("Unsupported", "UserError")
        if isinstance(found := getattr(exceptions, name, None), type)
    )
    if opened.trigger != "dynamo" or opened.one_graph or not isinstance(error, soft):
        return False
    box = frames.local(frames.caller(), "convert_frame_box")
    return not getattr(box, "error_on_graph_break", None)


def _metric(metrics: Any, name: str) -> Any:
    return (getattr(metrics, "_metrics", None) or {}).get(name)


def _weakly(owner: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(owner)
    except TypeError:
        return lambda: None
