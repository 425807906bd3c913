"""Writes fetched entries into a directory of a compile cache."""

from __future__ import annotations

import os
import secrets
import stat
from typing import TYPE_CHECKING

from compilespan.cache.errors import CacheError

if TYPE_CHECKING:
    from pathlib import Path

    from compilespan.cache.manifest import Entry

PARTS = ".compilespan"
"""Folder for files that are being written: torch reads every file of some folders."""


def place(directory: Path, entry: Entry, data: bytes) -> None:
    """Write an entry so that torch sees all of it or nothing; an existing file stays.

    Raises:
        CacheError: A folder of its path is a link.
        OSError: The file cannot be written.
    """
    folder = directory
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    *folders, name = entry.path.split("/")
    for each in folders:
        folder = folder / each
        folder.mkdir(mode=0o700, exist_ok=True)
        if not stat.S_ISDIR(folder.lstat().st_mode):
            msg = f"{folder} is a link, which is not followed"
            raise CacheError(msg)
    parts = directory / PARTS
    parts.mkdir(mode=0o700, exist_ok=True)
    part = parts / secrets.token_hex(8)
    mode = 0o700 if entry.is_executable else 0o600
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        if not (folder / name).exists():
            part.replace(folder / name)
    finally:
        part.unlink(missing_ok=True)
