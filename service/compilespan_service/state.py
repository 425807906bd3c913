"""The state directory, which holds the journals of the processes of this start."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from compilespan import get_ledger
from compilespan.journal.directory import temporary_directory
from compilespan.journal.writer import open_journal
from compilespan.process import instance_id

if TYPE_CHECKING:
    from pathlib import Path

_logger = logging.getLogger("compilespan")


def share_state(directory: Path | None) -> Path | None:
    """Make child processes write their journals where this process reads them.

    They inherit the instance id and the directory: the given one, or a temporary one. Returns it;
    ``None`` if none could be created.
    """
    instance_id()
    try:
        directory = (directory or temporary_directory()).absolute()
    except OSError as error:
        _logger.warning("compilespan: failed to create a temporary directory: %s", error)
        return None
    os.environ["COMPILESPAN_STATE_DIR"] = str(directory)
    return directory


def open_state(directory: Path | None) -> Path | None:
    """Open this process's journal, in a temporary directory if the operator names none.

    If the journal cannot be written, the service works from memory. Returns the directory;
    ``None`` if none could be created.
    """
    try:
        directory = directory or temporary_directory()
    except OSError as error:
        _logger.warning("compilespan: failed to create a temporary directory: %s", error)
        return None
    open_journal(directory)
    return directory


def close_state() -> None:
    """Close this process's journal: a server raises its signal again, and nothing runs after that.

    Without its last line the next start would report that this one died.
    """
    if (journal := get_ledger().journal) is not None:
        journal.close("shutdown")
