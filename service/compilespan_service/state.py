"""Where the processes of this start keep their journals."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from compilespan.journal import SUFFIX, is_written, open_journal
from compilespan.propagation import instance_id

if TYPE_CHECKING:
    from compilespan_service.settings import Settings

_PREFIX = "compilespan-"

_logger = logging.getLogger("compilespan_service")


def open_state(settings: Settings) -> Path:
    """Open this process's journal, in a temporary directory where the operator names none.

    That directory is named after the instance, so that several workers of one server find each
    other there. Without one that can be written the service works from memory.
    """
    directory = settings.state_dir or _temporary()
    open_journal(directory)
    return directory


def discard(directory: Path) -> None:
    """Remove a temporary directory when the last process of the instance ends."""
    ours = directory.name == _PREFIX + instance_id() and directory.parent == _base()
    if ours and not any(is_written(path) for path in directory.glob(f"*{SUFFIX}")):
        shutil.rmtree(directory, ignore_errors=True)


def _base() -> Path:
    return Path(tempfile.gettempdir())


def _temporary() -> Path:
    directory = _base() / (_PREFIX + instance_id())
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
            return directory
    except OSError as error:
        _logger.debug("compilespan: %s: %s", directory, error)
    # Somebody else's, in a directory that all may write to: not to be trusted.
    return Path(tempfile.mkdtemp(prefix=_PREFIX))
