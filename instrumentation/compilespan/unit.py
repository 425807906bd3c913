"""What is known of a compile when it begins."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

    from compilespan.semconv import Kind, Trigger


@dataclasses.dataclass(frozen=True, slots=True)
class Unit:
    """What is known of a compile when it begins.

    Attributes:
        name: See `CompileRecord`.
        trigger: What began it.
        kind: ``None`` where what is seen inside decides.
        mark: What `mark_component` said.
        said: What the monitor itself was told.
        by_names: What class names say; ``None`` where there are none.
        compile_id: Dynamo's id.
        tentative: It leaves a record only if it ends without an error; until then it is in no
            output.
        attributes: Further span attributes: backend, code.
    """

    name: str
    trigger: Trigger
    kind: Kind | None = "compile"
    mark: bool | None = None
    said: bool | None = None
    by_names: bool | None = None
    compile_id: str | None = None
    tentative: bool = False
    attributes: Mapping[str, AttributeValue] = dataclasses.field(default_factory=dict)

    def word(self, *others: bool | None) -> bool | None:
        """Return whether it is an encoder's, as was said: a mark, its own word, else ``others``."""
        return next((each for each in (self.mark, self.said, *others) if each is not None), None)
