"""An append-only file that stays usable if the program closes descriptors that it did not open.

A program that daemonises closes all descriptors, and its next file gets the number of ours. So
before each use we check that the descriptor still refers to our file; if it does not, we leave
the descriptor alone and open the file again.
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
    """Appends to a file that only this user can access, and holds its lock."""

    def __init__(self, path: Path) -> None:
        """Open the file; create it if it does not exist.

        Raises:
            OSError: The file cannot be opened.
        """
        self._path = path
        self._descriptor, self._identity = _opened(path, os.O_CREAT)
        self.is_locked = lock(self)

    def fileno(self) -> int:
        """Return a descriptor of the file; open the file again if the program closed it.

        Raises:
            OSError: The file is gone, or another file has its path.
        """
        if not self._is_ours:
            descriptor, identity = _opened(self._path, 0)
            if identity != self._identity:
                os.close(descriptor)
                raise OSError(f"{self._path} was replaced by another file")
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
        """Close the file, unless its descriptor now refers to another file."""
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
