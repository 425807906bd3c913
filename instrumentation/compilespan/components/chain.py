"""The component of a module, from its names and those of its enclosing modules."""

from __future__ import annotations

import dataclasses
import itertools
import re
from typing import TYPE_CHECKING

from compilespan.components.attributes import (
    component_of_attribute,
    component_of_composite,
    is_weak,
)
from compilespan.components.class_names import (
    COMPOSITE,
    component_of_class,
    component_of_whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from compilespan.semconv import Component


@dataclasses.dataclass(frozen=True, slots=True)
class Link:
    """One module in the chain from the compiled module outwards.

    Attributes:
        class_name: Class name of the module.
        attribute: Its attribute name in the next module of the chain; empty if unknown.
        parts: Class names of its direct parts, by attribute.
    """

    class_name: str
    attribute: str = ""
    parts: Mapping[str, str] = dataclasses.field(default_factory=dict)


class ComponentNames:
    """Decides the component by attribute and class names; the user's patterns come first."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        """Compile ``patterns``.

        Args:
            patterns: Regular expressions for encoders, searched in class names, ignoring case.

        Raises:
            ValueError: A pattern is not a regular expression.
        """
        try:
            self._own = [re.compile(pattern, re.IGNORECASE) for pattern in patterns]
        except re.error as error:
            msg = (
                f"encoder pattern {error.pattern!r} is not a regular expression: {error}; "
                "give comma-separated expressions that are searched in class names, e.g. 'Tower'"
            )
            raise ValueError(msg) from error

    def component(self, chain: Sequence[Link], layers: Iterable[str] = ()) -> Component:
        """Return the component of a compiled module.

        Args:
            chain: The module and its enclosing modules, innermost first.
            layers: Class names of its layers; read only if its attributes and class name do not
                decide.
        """
        if not chain:
            return "other"
        if self._is_own(chain[0].class_name):
            return "encoder"
        return (
            _of_wholes(chain)
            or _of_attributes(chain, weak=False)
            or _of_attributes(chain, weak=True)
            or component_of_composite(chain[0].parts)
            or component_of_class(chain[0].class_name)
            or _of_layers(layers)
            or self._of_enclosing(chain)
            or "other"
        )

    def _is_own(self, class_name: str) -> bool:
        return any(pattern.search(class_name) for pattern in self._own)

    def _of_enclosing(self, chain: Sequence[Link]) -> Component | None:
        for link in chain[1:]:
            if self._is_own(link.class_name):
                return "encoder"
            # A composite's name says nothing about its parts.
            if not COMPOSITE.search(link.class_name) and not component_of_composite(link.parts):
                found = component_of_class(link.class_name)
                if found is not None:
                    return found
        return None


def _of_wholes(chain: Sequence[Link]) -> Component | None:
    """Return what a class in the chain decides for all its parts (e.g. a codec)."""
    wholes = [component_of_whole(link.class_name) for link in chain]
    order: tuple[Component, ...] = ("other", "encoder")
    return next((component for component in order if component in wholes), None)


def _of_attributes(chain: Sequence[Link], *, weak: bool) -> Component | None:
    for link, outer in itertools.pairwise(chain):
        if not link.attribute or is_weak(link.attribute) is not weak:
            continue
        found = component_of_attribute(link.attribute, outer.parts)
        if found is None:
            continue
        if not weak:
            return found
        own, around = component_of_class(link.class_name), component_of_class(outer.class_name)
        if "other" in (own, around):
            return "other"
        return own if link.attribute == "text_model" and own is not None else found
    return None


def _of_layers(layers: Iterable[str]) -> Component | None:
    said = {component_of_class(layer) for layer in layers}
    order: tuple[Component, ...] = ("language_model", "encoder", "other")
    return next((component for component in order if component in said), None)
