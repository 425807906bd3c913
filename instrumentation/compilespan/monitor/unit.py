"""What is known of a compile when it begins."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

    from compilespan.semconv import Component, Kind, Trigger


@dataclasses.dataclass(frozen=True, slots=True)
class Unit:
    """What is known of a compile when it begins.

    Attributes:
        name: See `CompileRecord`.
        trigger: What began it.
        kind: ``None`` if what happens inside decides.
        stated: The component that a mark or the monitor's own argument states. It outweighs the
            surroundings.
        named: The component that names suggest; ``None`` if what compiles inside decides. The
            surroundings outweigh it.
        compile_id: Dynamo's id.
        tentative: It probes for an artefact. It is not reported before its first event or its end,
            and not at all if it ends because a file does not exist.
        is_stored: The opener stores what is compiled in it, so that a bypass of torch's caches
            counts as a miss.
        file: Source file of the compiled frame.
        line: First line of the compiled frame.
        attributes: Further span attributes: backend, code.
    """

    name: str
    trigger: Trigger
    kind: Kind | None = "compile"
    stated: Component | None = None
    named: Component | None = None
    compile_id: str | None = None
    tentative: bool = False
    is_stored: bool = False
    file: str | None = None
    line: int | None = None
    attributes: Mapping[str, AttributeValue] = dataclasses.field(default_factory=dict)
