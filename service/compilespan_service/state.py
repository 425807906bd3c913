"""Where the processes of this start keep their journals."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from compilespan.journal.directory import temporary_directory
from compilespan.journal.writer import open_journal

if TYPE_CHECKING:
    from pathlib import Path

_logger = logging.getLogger("compilespan")


def open_state(directory: Path | None) -> Path | None:
    """Open this process's journal, in a temporary directory if the operator names none.

    Without one that can be written the service works from memory, and ``None`` is returned if
    there is none at all.
    """
    try:
        directory = directory or temporary_directory()
    except OSError as error:
        _logger.warning("compilespan: no temporary directory can be made (%s)", error)
        return None
    open_journal(directory)
    return directory
