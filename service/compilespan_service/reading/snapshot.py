"""What the reader publishes: the processes of a state directory at one moment."""

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
    """An immutable snapshot of a state directory.

    Attributes:
        processes: This instance's other processes, including ended ones, and those of other
            running instances if requested. Oldest first.
        past: The processes of all other starts, newest first, as far as they were read.
        journals: The files that were found.
        incomplete: Instances, as in file names, whose journals were not read completely.
        is_listed: ``False`` if the directory could not be listed this time.
    """

    processes: Sequence[ProcessSnapshot] = ()
    past: Sequence[Summary] = ()
    journals: frozenset[Path] = frozenset()
    incomplete: frozenset[str] = frozenset()
    is_listed: bool = True
