"""The journal of another process, read as it grows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from compilespan.journal.reader import ProcessJournal
from compilespan.process.faults import contained
from compilespan.sdk.deaths import report_death

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from compilespan import CompileRecord
    from compilespan.journal.snapshot import ProcessSnapshot

_SLICE_S = _REST_S = 0.002
"""Seconds of reading, and of the pause after it; the event loop may wait that long."""


class FollowedJournal:
    """A journal, and the latest snapshot of its process."""

    def __init__(
        self,
        path: Path,
        on_record: Callable[[CompileRecord], object],
        on_job: Callable[[Mapping[str, Any]], object],
    ) -> None:
        self._journal = ProcessJournal(path, on_record=on_record, on_job=on_job)
        self._seen: tuple[int, int] | None = None
        self._snapshot: ProcessSnapshot | None = None
        self._has_failed = False

    @property
    def path(self) -> Path:
        """The file."""
        return self._journal.path

    @property
    def is_complete(self) -> bool:
        """``False`` if lines were left out or reading failed."""
        return self._journal.is_complete and not self._has_failed

    def look(self) -> ProcessSnapshot | None:
        """Read new lines, with pauses; return the snapshot, ``None`` before the first line."""
        was_running = self._snapshot is None or self._snapshot.is_running
        is_running = was_running and self._journal.is_running
        seen = self._state()
        if seen == self._seen and is_running == was_running:
            return self._snapshot
        self._seen, self._has_failed = seen, True
        if seen is None:
            return self._snapshot  # the file is gone; what was read still counts
        with contained(f"read {self.path.name}"):
            while self._journal.refresh(time.monotonic() + _SLICE_S).has_more:
                time.sleep(_REST_S)
            self._snapshot = self._journal.snapshot() if self._journal.process else None
            # A process that died early leaves an empty file; any other file without a first
            # line is no journal.
            self._has_failed = bool(not self._journal.process and not is_running and seen[0])
        if not is_running:
            report_death(self._journal)
        return self._snapshot

    def _state(self) -> tuple[int, int] | None:
        try:
            found = self.path.lstat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns
