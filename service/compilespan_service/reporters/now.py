"""What compiles now, in one line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from compilespan_service.reporters.characters import printable
from compilespan_service.reporters.words import (
    STAGE_WORDS,
    duration,
    worded,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compilespan.journal.snapshot import Begun


def now_line(active: Sequence[Begun]) -> str | None:
    """Return one line about what compiles now; ``None`` when nothing does.

    Args:
        active: Oldest first.
    """
    if not active:
        return None
    oldest = active[0]
    age_s = max(0.0, time.time() - oldest.start_ns / 1e9)
    kind = worded(oldest.component)
    line = f"compilespan: {printable(oldest.name)} ({kind}) compiling for {duration(age_s)}"
    if oldest.stage is not None:
        line += f" ({STAGE_WORDS.get(oldest.stage, oldest.stage)})"
    if oldest.graphs:
        line += f", {oldest.graphs} graph{'s' * (oldest.graphs > 1)} done"
    if len(active) > 1:
        line += f", and {len(active) - 1} more"
    return line
