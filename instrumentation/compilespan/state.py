"""The directory of the journals, where the operator names none."""

from __future__ import annotations

import logging
import os
import shutil
import stat
import tempfile
from pathlib import Path

from compilespan.journal import SUFFIX, is_written
from compilespan.propagation import instance_id

_PREFIX = "compilespan-"

_logger = logging.getLogger("compilespan")


def temporary_directory() -> Path:
    """Return a directory that is named after the instance, so that its processes meet there.

    Only this user can write it; one of that name that is somebody else's is not taken.
    """
    directory = _base() / (_PREFIX + instance_id())
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
            return directory
    except OSError as error:
        _logger.debug("compilespan: %s: %s", directory, error)
    return Path(tempfile.mkdtemp(prefix=_PREFIX))


def discard(directory: Path) -> None:
    """Remove a temporary directory when the last process of the instance ends."""
    ours = directory.name == _PREFIX + instance_id() and directory.parent == _base()
    if ours and not any(is_written(path) for path in directory.glob(f"*{SUFFIX}")):
        shutil.rmtree(directory, ignore_errors=True)


def _base() -> Path:
    return Path(tempfile.gettempdir())
