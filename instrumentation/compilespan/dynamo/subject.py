"""The subject of a compile: the module or function, and the modules that enclose it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from compilespan import semconv
from compilespan.components.chain import ComponentNames, Link
from compilespan.components.marks import attributes_of, is_module, marked_as, marked_object
from compilespan.dynamo import frames, naming
from compilespan.dynamo.private import CALL_IMPL
from compilespan.monitor.unit import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from compilespan.semconv import Component, Kind, Trigger

_MAX_LAYERS = 256


@dataclasses.dataclass(frozen=True, slots=True)
class Subject:
    """What is compiled. It keeps ``owner`` and ``identity`` alive, so do not store it.

    Attributes:
        owner: The module whose frame is compiled, else the argument of `torch.compile`.
        identity: Distinguishes instances: the module, the object whose method is compiled, or
            the function.
        name: Class name of a module, qualified name of a function; empty if unknown.
        marked: The component of the nearest mark; ``None`` without one.
        named: The component that the names suggest.
    """

    owner: Any
    identity: Any
    name: str
    marked: Component | None
    named: Component

    def unit(self, name: str, trigger: Trigger, kind: Kind | None) -> Unit:
        """Return the unit of its compile; ``name`` is used if the subject has no name."""
        source = naming.source_of(self.owner)
        return Unit(
            self.name or name,
            trigger,
            kind,
            stated=self.marked,
            named=self.named,
            file=source.file if source is not None else None,
            line=source.line if source is not None else None,
            attributes=source.attributes if source is not None else {},
        )


def subject_at(
    frame: FrameType, names: ComponentNames, compiled_self: Any = None, given: Any = None
) -> Subject:
    """Find the subject of a compile that begins in one of torch's frames.

    Args:
        frame: The frame of torch that begins to compile.
        names: Decides the component by names.
        compiled_self: The object whose method is compiled; ``None`` if it is not a method.
        given: The object passed in to be compiled; ``None`` if that frame does not have it.
    """
    bound, marked = naming.bound_object(given), marked_object(given)
    given = naming.given_object(given)
    compiled_self = naming.given_object(compiled_self)
    chain = _Chain()
    chain.enclose(given)
    chain.enclose(compiled_self)
    call_impl = getattr(CALL_IMPL.found(), "__code__", None)
    public = ""
    for outer in frames.outwards(frame):
        code = outer.f_code
        if code is call_impl:
            chain.enclose(naming.given_object(frames.locals_of(outer).get("self")))
        elif given is None and code.co_name == "compile_wrapper" and frames.is_torch(code):
            handed_in = frames.locals_of(outer).get("fn")
            bound, given = naming.bound_object(handed_in), naming.given_object(handed_in)
            marked = marked_object(handed_in)
            chain.enclose(given)
            public = _public_call(outer)
    chain.enclose(marked)  # a module whose method the program wrapped
    module = chain.modules[0] if chain.modules else None
    owner = module if module is not None else given
    name = naming.name_of(owner) if owner is not None else ""
    if public and naming.is_torchs(owner):
        name = public
    instances = (module, compiled_self, bound)
    identity = next((each for each in instances if each is not None), given)
    if naming.is_torchs(given):  # a new one for each call of an operator
        identity = given
    return Subject(
        owner,
        identity,
        semconv.name(name),
        marked_as([*chain.modules, given, marked, bound]),
        chain.component(names),
    )


class _Chain:
    """The modules around a compile, innermost first."""

    def __init__(self) -> None:
        self.modules: list[Any] = []

    def enclose(self, candidate: Any) -> None:
        """Add ``candidate`` as the next enclosing module, if it is a module."""
        if is_module(candidate) and not any(candidate is each for each in self.modules):
            self.modules.append(candidate)

    def component(self, names: ComponentNames) -> Component:
        """Return the component that the names of the chain suggest."""
        links = [
            Link(naming.name_of(inner), _attribute_name(inner, outer), _part_names(inner))
            for inner, outer in zip(self.modules, [*self.modules[1:], None], strict=False)
        ]
        return names.component(links, _layers(self.modules[0]) if self.modules else ())


def _public_call(wrapper: FrameType) -> str:
    """Return the torch function that the program called, if torch itself started the compile.

    Operators such as ``torch.cond`` compile a wrapper of their own when they are called eagerly.
    """
    name = ""
    for outer in frames.outwards(wrapper):
        if not frames.is_torch(outer.f_code):
            break
        name = outer.f_code.co_name
    return name


def _parts(module: Any) -> list[tuple[str, Any]]:
    found = list((attributes_of(module).get("_modules") or {}).items())
    return [(name, naming.given_object(part)) for name, part in found if part is not None]


def _part_names(module: Any) -> dict[str, str]:
    return {name: naming.name_of(part) for name, part in _parts(module)}


def _attribute_name(inner: Any, outer: Any) -> str:
    """Return the attribute of ``outer`` that is or contains ``inner``; empty if none does.

    It looks two levels deep, since containers such as ``ModuleList`` are never called themselves.
    """
    if outer is None:
        return ""
    parts = _parts(outer)
    for name, part in parts:
        if part is inner:
            return name
    for name, part in parts:
        if any(nested is inner for _, nested in _parts(part)):
            return name
    return ""


def _layers(module: Any) -> Iterator[str]:
    """Yield the class names of a module's parts, two levels deep and bounded."""
    for _, part in _parts(module):
        for _, nested in [("", part), *_parts(part)][:_MAX_LAYERS]:
            yield naming.name_of(nested)
