"""A file that stays ours: a program may close descriptors that it did not open.

What daemonises closes all of them, and the program's next file gets our number. So before each use
the descriptor is compared with the file that it was opened for; if it is another's, it is left
alone, and the file is opened anew.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from compilespan.journal.files import SAFE
from compilespan.journal.locks import lock

if TYPE_CHECKING:
    from pathlib import Path


class OwnFile:
    """Appends to a file that is this user's alone, and holds its lock."""

    def __init__(self, path: Path) -> None:
        """Open it, and make it if it is not there.

        Raises:
            OSError: It cannot be opened.
        """
        self._path = path
        self._descriptor, self._identity = _opened(path, os.O_CREAT)
        self.is_locked = lock(self)

    def fileno(self) -> int:
        """Return a descriptor that is the file's now.

        Raises:
            OSError: It is gone, or another file is in its place.
        """
        if not self._is_ours:
            descriptor, identity = _opened(self._path, 0)
            if identity != self._identity:
                os.close(descriptor)
                raise OSError(f"{self._path} is another file by now")
            self._descriptor = descriptor
            lock(self)
        return self._descriptor

    def tell(self) -> int:
        """Return its length in bytes."""
        return os.fstat(self.fileno()).st_size

    def write(self, data: bytes) -> None:
        """Append bytes."""
        os.write(self.fileno(), data)

    def close(self) -> None:
        """Close it, if the descriptor is still its own."""
        if self._is_ours:
            with suppress(OSError):
                os.close(self._descriptor)
        self._descriptor = -1

    @property
    def _is_ours(self) -> bool:
        try:
            found = os.fstat(self._descriptor)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity


def _opened(path: Path, flags: int) -> tuple[int, tuple[int, int]]:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | flags | SAFE, mode=0o600)
    found = os.fstat(descriptor)
    return descriptor, (found.st_dev, found.st_ino)
