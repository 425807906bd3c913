"""A state directory and its journals; a temporary one if the operator names none."""

from __future__ import annotations

import functools
import logging
import os
import re
import shutil
import stat
import tempfile
import time
from pathlib import Path

from compilespan.journal.files import first_line, journals
from compilespan.journal.locks import is_written
from compilespan.journal.reader import ProcessJournal
from compilespan.process import instance_id
from compilespan.process.faults import contained

_PREFIX = "compilespan-"
_ABANDONED_S = 24 * 3600.0
_DRAWN = re.compile("[0-9a-f]{16}")
"""An instance id that `instance_id` generated."""

_logger = logging.getLogger("compilespan")


def temporary_directory() -> Path:
    """Return a directory named after the instance, so that all its processes use the same one.

    Only this user can write there. If another user has a directory of that name, make another.
    """
    directory = _base() / (_PREFIX + instance_id())
    with contained("remove the temporary directories of starts that were killed"):
        _discard_abandoned()
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == _user_id(found):
            return directory
    except OSError as error:
        _logger.debug("compilespan: %s: %s", directory, error)
    return Path(tempfile.mkdtemp(prefix=_PREFIX))


def discard(directory: Path, *, with_children: bool = False) -> None:
    """Remove a temporary directory when the last process that writes there ends.

    Args:
        directory: A state directory; one that the operator named is kept.
        with_children: Whether other processes of this instance end with this one.
    """
    ours = directory.name == _PREFIX + instance_id() and directory.parent == _base()
    ending = set(journals(directory, instance_id())) if with_children else set()
    written = (
        is_written(path, first_line(path)) for path in journals(directory) if path not in ending
    )
    if ours and not any(written):
        shutil.rmtree(directory, ignore_errors=True)


def _discard_abandoned() -> None:
    """Remove this user's temporary directories that no process has used for a day.

    Only those of generated instance ids: the operator may have chosen a similar name for a state
    directory.
    """
    for directory in _base().glob(_PREFIX + "*"):
        instance = directory.name.removeprefix(_PREFIX)
        if not _DRAWN.fullmatch(instance):
            continue
        found = directory.lstat()
        is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == _user_id(found)
        if not is_ours or time.time() - found.st_mtime < _ABANDONED_S:
            continue
        files = sorted(directory.iterdir())
        if files and files == journals(directory, instance) and not _is_used(files):
            shutil.rmtree(directory, ignore_errors=True)


def _is_used(files: list[Path]) -> bool:
    return any(
        is_written(path, first_line(path)) or time.time() - path.lstat().st_mtime < _ABANDONED_S
        for path in files
    )


def _base() -> Path:
    return Path(tempfile.gettempdir())


def _user_id(found: os.stat_result) -> int:
    """Return this user's id; on Windows the owner's, as each user has a temporary directory."""
    return os.getuid() if hasattr(os, "getuid") else found.st_uid


@functools.lru_cache(maxsize=64)
def complain(directory: Path, name: str) -> None:
    """Log, once per file, that it is not read completely and that totals are incomplete."""
    _logger.warning(
        "compilespan: %s/%s is not read completely, so the totals are incomplete: it is cut off "
        "or damaged, or this version did not write it. Set the logger 'compilespan' to DEBUG to "
        "see the reason, and other such files.",
        directory,
        name,
    )


class StateDirectory:
    """All journals of a directory; each line is read only once."""

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        self._files: dict[Path, ProcessJournal] = {}

    def processes(self, *instances: str) -> list[ProcessJournal]:
        """Return the processes that wrote here, oldest first.

        Args:
            instances: Read only the journals of these, selected by file name; by default all.
        """
        paths = journals(self.directory, *instances)
        self._files = {path: self._files.get(path) or ProcessJournal(path) for path in paths}
        found = [journal.refresh() for journal in self._files.values()]
        if bad := next((journal for journal in found if not journal.is_complete), None):
            complain(self.directory, bad.path.name)
        return [journal for journal in found if journal.process]
