"""Finds out from torch's frame what begins when it enters Dynamo's metrics context."""

from __future__ import annotations

import dataclasses
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from compilespan import semconv
from compilespan.dynamo import frames, naming
from compilespan.dynamo.owners import Forward, FrameKey, OwnerMemory
from compilespan.dynamo.subject import Subject, subject_at
from compilespan.monitor.unit import Unit
from compilespan.monitor.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

    from opentelemetry.util.types import AttributeValue

    from compilespan.components.chain import ComponentNames
    from compilespan.dynamo.graphs import Graph, GraphWatch
    from compilespan.semconv import Kind, Trigger

# What begins, by the function that enters the metrics context; `_compile` is the usual one.
_BY_CALLER: dict[str, tuple[Trigger, Kind]] = {
    "get_or_compile": ("lazy_backward", "compile"),
    "_backward_impl": ("lazy_backward", "compile"),
    "aot_compile_fullgraph": ("aot_compile", "compile"),
    "compile_fx_aot": ("aot_compile", "compile"),
    "deserialize": ("aot_load", "load"),
    "inner": ("export", "compile"),
}
_FRAME = "_compile"
_MAX_CAPTURED = 256
_GIVEN = ("model", "model_", "mod", "fn")
"""Locals in which those functions may hold what they compile."""


@dataclasses.dataclass(slots=True)
class Open:
    """A window of this thread, and what is needed to close it."""

    window: Window
    trigger: Trigger
    graphs_before: int
    metrics: Any = None
    frame: FrameKey | None = None
    owner: Callable[[], Any] = lambda: None
    one_graph: bool = False
    is_recompile: bool = False
    last_break: str = ""
    """Reason of the last reported graph break."""
    own_graph: Graph | None = None
    """A graph that is reported at the end if none was reported inside."""


class Opener:
    """Finds out what begins and makes its window, which the caller enters."""

    def __init__(self, names: ComponentNames, owners: OwnerMemory, graphs: GraphWatch) -> None:
        self._names = names
        self._owners = owners
        self._graphs = graphs
        self.backwards: deque[Any] = deque(maxlen=_MAX_CAPTURED)
        """Compile ids of the forwards whose backwards compiled autograd captured last."""

    def open(self, frame: FrameType, metrics: Any) -> Open:
        """Return the window of what torch begins in ``frame``; it is not entered yet."""
        caller = frame.f_code.co_name
        trigger, kind = _BY_CALLER.get(caller, ("dynamo", "compile"))
        if caller == _FRAME:
            return self._frame(frame, metrics)
        if trigger == "lazy_backward":
            return self._backward(frame)
        values = frames.locals_of(frame)
        handed_in = (values.get(name) for name in _GIVEN)
        given = next((each for each in handed_in if each is not None), None)
        subject = subject_at(frame, self._names, given=given)
        unit = subject.unit(caller, trigger, kind)
        return Open(Window(unit), trigger, self._graphs.seen, metrics)

    def _frame(self, frame: FrameType, metrics: Any) -> Open:
        values = frames.locals_of(frame)
        code: CodeType = values["code"]
        instance = naming.instance_of(code, values.get("locals") or {})
        subject = subject_at(frame, self._names, instance)
        module_name = str((values.get("globals") or {}).get("__name__", ""))
        source = naming.source_of(subject.owner, code, module_name)
        attributes = dict(source.attributes) if source is not None else {}
        attributes[semconv.BACKEND] = naming.backend_name(values.get("compiler_fn"))
        trigger: Trigger = "export" if values.get("export") else "dynamo"
        unit = Unit(
            subject.name or semconv.name(code.co_name),
            trigger,
            stated=subject.marked,
            named=subject.named,
            compile_id=str(values.get("compile_id")),
            file=source.file if source is not None else None,
            line=source.line if source is not None else None,
            attributes=attributes,
        )
        if str(unit.compile_id).startswith("!"):
            unit = self._of_compiled_autograd(unit)
        key = FrameKey(code, values.get("closure"))
        return Open(
            Window(unit),
            trigger,
            self._graphs.seen,
            metrics,
            frame=key,
            owner=_weakly(subject),
            one_graph=bool(values.get("one_graph")),
            is_recompile=self._owners.compiled_before(subject.identity, key),
        )

    def _of_compiled_autograd(self, unit: Unit) -> Unit:
        """Return the unit of a backward that compiled autograd captured, named by its forwards."""
        ids = list(dict.fromkeys(str(each) for each in self.backwards))
        self.backwards.clear()
        forwards = [each for each in map(self._owners.forward, ids) if each is not None]
        if not forwards:
            return dataclasses.replace(unit, name="backward")
        components = {each.component for each in forwards}
        return dataclasses.replace(
            unit,
            name=forwards[0].unit.name,
            stated=components.pop() if len(components) == 1 else unit.stated,
            file=forwards[0].unit.file,
            line=forwards[0].unit.line,
            attributes={**unit.attributes, **_code(forwards[0].unit)},
        )

    def _backward(self, frame: FrameType) -> Open:
        values = frames.locals_of(frame)
        saved = values.get("saved_compile_context")
        compile_id = str(getattr(saved, "compile_id", None))
        forward = self._owners.forward(compile_id) or Forward(Unit("backward", "dynamo"), None)
        unit = dataclasses.replace(
            forward.unit,
            trigger="lazy_backward",
            stated=forward.component,
            compile_id=compile_id,
        )
        opened = Open(Window(unit), "lazy_backward", self._graphs.seen)
        opened.own_graph = self._graphs.begin(values.get("bw_module"))
        return opened


def begins_compile(frame: FrameType) -> bool:
    """Whether the function that enters the metrics context is one that begins a compile or load."""
    name = frame.f_code.co_name
    return frames.is_torch(frame.f_code) and (name == _FRAME or name in _BY_CALLER)


def _weakly(subject: Subject) -> Callable[[], Any]:
    try:
        return weakref.ref(subject.identity)
    except TypeError:
        return lambda: None


def _code(unit: Unit) -> dict[str, AttributeValue]:
    return {key: value for key, value in unit.attributes.items() if key.startswith("code.")}
