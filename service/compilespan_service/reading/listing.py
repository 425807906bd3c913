"""The journals in a directory that may contain many other files."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from compilespan.journal.files import listed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from compilespan.journal.files import JournalName

_NS = 10**9
_SURE_AFTER_S = 3.0
"""Some file systems store the time of a change with a resolution of 1 to 2 seconds."""
_AT_LEAST_EVERY_S = 30.0


class Listing:
    """Lists a directory; lists it again only after a change or 30 s."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._names: Mapping[Path, JournalName] = {}
        self._changed_ns = 0
        self._listed_s = float("-inf")
        self.is_complete = True
        """``False`` while the directory is gone or cannot be listed."""

    def names(self) -> Mapping[Path, JournalName]:
        """Return the journals, oldest first; the last ones known if it cannot be listed."""
        try:
            changed_ns = self._directory.stat().st_mtime_ns
            is_old = time.monotonic() - self._listed_s > _AT_LEAST_EVERY_S
            is_sure = time.time() - changed_ns / _NS > _SURE_AFTER_S
            if changed_ns != self._changed_ns or is_old or not is_sure:
                self._names = listed(self._directory)
                self._changed_ns, self._listed_s = changed_ns, time.monotonic()
            self.is_complete = True
        except OSError:
            # A directory that does not exist yet has no journals.
            self.is_complete = not self._names
        return self._names
