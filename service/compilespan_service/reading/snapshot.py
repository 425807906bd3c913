"""What the reader hands out: the processes of a state directory at one moment."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from compilespan.journal.snapshot import ProcessSnapshot
    from compilespan.journal.summary import Summary


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """A state directory as it was read last; nothing in it changes any more.

    Attributes:
        processes: This instance's other processes, those that ended too; those of other running
            instances where they are asked for. Oldest first.
        past: The processes of all other starts, newest first, as far as they were read.
        journals: The files that there were.
        incomplete: The instances, as file names have them, that wrote what cannot be read.
        is_listed: ``False`` if the directory could not be listed this time.
    """

    processes: Sequence[ProcessSnapshot] = ()
    past: Sequence[Summary] = ()
    journals: frozenset[Path] = frozenset()
    incomplete: frozenset[str] = frozenset()
    is_listed: bool = True
