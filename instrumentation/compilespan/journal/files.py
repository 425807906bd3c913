"""Find, open and delete the journals of a state directory.

Other programs may write to the directory. Files of other names are left alone, and a file with a
journal's name is opened only if it is a regular file: links are not followed, pipes do not block.
"""

from __future__ import annotations

import calendar
import contextlib
import functools
import hashlib
import math
import operator
import os
import re
import stat
import time
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from compilespan.journal.lines import LineError, parsed
from compilespan.journal.locks import is_written

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 64 * 1024 * 1024
"""Size limit of a journal. A last line reports it; readers then report incomplete totals."""
MAX_FILES = 256
"""Journals kept per directory; beyond that the oldest whose writers have ended are deleted."""

STARTED = "%Y%m%dT%H%M%S"
_NAME = re.compile(r"(?P<started>\d{8}T\d{6})-(?P<instance>[\w.-]+)-(?P<pid>\d+)\.jsonl")
_MAX_FIRST_LINE = 65_536
_MAX_ID = 100
# Windows lacks some of these names; they count as no flag.
SAFE = functools.reduce(
    operator.or_,
    (getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")),
)


class JournalName(NamedTuple):
    """The parts of a journal's name.

    Attributes:
        started: When its process began, ``YYYYMMDDTHHMMSS`` in UTC.
        instance: Instance id of the process, as `in_file_name` spells it.
        pid: Id of the process.
    """

    started: str
    instance: str
    pid: int

    @classmethod
    def of(cls, path: Path) -> JournalName | None:
        """Parse a file's name; ``None`` if it is not a journal's."""
        found = _NAME.fullmatch(path.name)
        return cls(found["started"], found["instance"], int(found["pid"])) if found else None

    @property
    def age_s(self) -> float:
        """Seconds since its process began; infinite if the name has no valid date."""
        try:
            return time.time() - calendar.timegm(time.strptime(self.started, STARTED))
        except ValueError:
            return math.inf

    def __str__(self) -> str:
        """Return the file's name."""
        return f"{self.started}-{self.instance}-{self.pid}.jsonl"


def in_file_name(instance: str) -> str:
    """Return an instance id as its journals' names spell it; different ids give different names."""
    name = re.sub(r"[^\w.-]", "_", instance, flags=re.ASCII)[:_MAX_ID]
    if name == instance:
        return name
    return f"{name}-{hashlib.sha256(instance.encode(errors='replace')).hexdigest()[:8]}"


def journals(directory: Path, *instances: str) -> list[Path]:
    """Return the journals of a directory, oldest first; only those of ``instances``, if any."""
    wanted = set(map(in_file_name, instances))
    try:
        paths = listed(directory)
    except OSError:
        return []
    return [path for path, name in paths.items() if not wanted or name.instance in wanted]


def listed(directory: Path) -> dict[Path, JournalName]:
    """Return the journals of a directory, oldest first, with their parsed names.

    Raises:
        OSError: The directory cannot be listed.
    """
    # Make no `Path` of other files: a directory may hold many.
    names = sorted(each for each in os.listdir(directory) if each.endswith(".jsonl"))  # noqa: PTH208
    paths = [directory / name for name in names if name[8:9] == "T"]
    return {path: name for path in paths if (name := JournalName.of(path)) is not None}


def open_to_read(path: Path, flags: int = os.O_RDONLY) -> BinaryIO:
    """Open the journal of any process.

    Raises:
        OSError: The file is missing, a link, or not a regular file.
    """
    descriptor = os.open(path, flags | SAFE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        msg = f"{path} is not a regular file"
        raise OSError(msg)
    return os.fdopen(descriptor, "rb" if flags == os.O_RDONLY else "ab")


def prune(directory: Path, keep: int = MAX_FILES) -> None:
    """Delete journals older than the newest ``keep`` whose writers have ended; nothing else."""
    for path in journals(directory)[:-keep]:
        process = first_line(path)
        with contextlib.suppress(OSError):
            is_ours = process or path.lstat().st_size == 0  # it died before its first line
            if is_ours and not is_written(path, process):
                path.unlink()


def first_line(path: Path) -> dict[str, Any]:
    """Return the first line of a journal, which identifies its process; empty if it has none."""
    try:
        with open_to_read(path) as file:
            line_type, values = parsed(file.readline(_MAX_FIRST_LINE))
    except (OSError, LineError):
        return {}
    return values if line_type == "process" else {}
