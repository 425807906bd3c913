"""Where the processes of this start keep their journals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compilespan.journal.directory import temporary_directory
from compilespan.journal.writer import open_journal

if TYPE_CHECKING:
    from pathlib import Path


def open_state(directory: Path | None) -> Path:
    """Open this process's journal, in a temporary directory if the operator names none.

    Without one that can be written the service works from memory.
    """
    directory = directory or temporary_directory()
    open_journal(directory)
    return directory
