"""What begins when Dynamo's metrics context is entered: read off torch's frame, as a window."""

from __future__ import annotations

import dataclasses
import weakref
from typing import TYPE_CHECKING, Any

from compilespan import semconv
from compilespan.dynamo import frames, naming
from compilespan.dynamo.owners import Forward, OwnerMemory
from compilespan.dynamo.subject import Subject, subject_at
from compilespan.monitor.unit import Unit
from compilespan.monitor.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

    from compilespan.components.chain import ComponentNames
    from compilespan.dynamo.graphs import Graph, GraphWatch
    from compilespan.semconv import Kind, Trigger

# The function that enters the metrics context tells what begins; `_compile` is the usual one.
_BY_CALLER: dict[str, tuple[Trigger, Kind]] = {
    "get_or_compile": ("lazy_backward", "compile"),
    "_backward_impl": ("lazy_backward", "compile"),
    "aot_compile_fullgraph": ("aot_compile", "compile"),
    "compile_fx_aot": ("aot_compile", "compile"),
    "deserialize": ("aot_load", "load"),
    "inner": ("export", "compile"),
}
_GIVEN = ("model", "model_", "mod", "fn")
"""Locals in which those functions hold what they compile."""


@dataclasses.dataclass(slots=True)
class Open:
    """A window of this thread, and what its end has to know."""

    window: Window
    trigger: Trigger
    graphs_before: int
    metrics: Any = None
    code: CodeType | None = None
    owner: Callable[[], Any] = lambda: None
    one_graph: bool = False
    is_recompile: bool = False
    last_break: str = ""
    """Reason of the graph break that was reported last."""
    own_graph: Graph | None = None
    """A graph that is reported at the end, if none was reported from inside."""


class Opener:
    """Finds out what begins, and makes its window; the caller enters it."""

    def __init__(self, names: ComponentNames, owners: OwnerMemory, graphs: GraphWatch) -> None:
        self._names = names
        self._owners = owners
        self._graphs = graphs

    def open(self, frame: FrameType, metrics: Any) -> Open:
        """Return the window of what torch begins in ``frame``, not entered yet."""
        caller = frame.f_code.co_name
        trigger, kind = _BY_CALLER.get(caller, ("dynamo", "compile"))
        if caller == "_compile":
            return self._frame(frame, metrics)
        if trigger == "lazy_backward":
            return self._backward(frame)
        handed_in = (frames.local(frame, name) for name in _GIVEN)
        given = next((each for each in handed_in if each is not None), None)
        subject = subject_at(frame, self._names, given=given)
        unit = Unit(
            subject.name or caller, trigger, kind, stated=subject.marked, named=subject.named
        )
        return Open(Window(unit), trigger, self._graphs.seen, metrics)

    def _frame(self, frame: FrameType, metrics: Any) -> Open:
        code: CodeType = frames.local(frame, "code")
        values = frames.local(frame, "locals") or {}
        subject = subject_at(frame, self._names, naming.instance_of(code, values))
        module_name = str((frames.local(frame, "globals") or {}).get("__name__", ""))
        function, file, line = naming.source_of(subject.owner, code, module_name)
        attributes = naming.code_attributes(function, file, line)
        attributes[semconv.BACKEND] = naming.backend_name(frames.local(frame, "compiler_fn"))
        unit = Unit(
            subject.name or semconv.name(code.co_name),
            "dynamo",
            stated=subject.marked,
            named=subject.named,
            compile_id=str(frames.local(frame, "compile_id")),
            file=file,
            line=line,
            attributes=attributes,
        )
        return Open(
            Window(unit),
            "dynamo",
            self._graphs.seen,
            metrics,
            code=code,
            owner=_weakly(subject),
            one_graph=bool(frames.local(frame, "one_graph")),
            is_recompile=self._owners.compiled_before(subject.owner, code),
        )

    def _backward(self, frame: FrameType) -> Open:
        saved = frames.local(frame, "saved_compile_context")
        compile_id = str(getattr(saved, "compile_id", None))
        forward = self._owners.forward(compile_id) or Forward(Unit("backward", "dynamo"), None)
        unit = dataclasses.replace(
            forward.unit,
            trigger="lazy_backward",
            stated=forward.component,
            compile_id=compile_id,
        )
        opened = Open(Window(unit), "lazy_backward", self._graphs.seen)
        opened.own_graph = self._graphs.begin(frames.local(frame, "bw_module"))
        return opened


def _weakly(subject: Subject) -> Callable[[], Any]:
    try:
        return weakref.ref(subject.owner)
    except TypeError:
        return lambda: None
