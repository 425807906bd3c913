"""A journal of another process that is read on whenever something was added."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from compilespan.faults import contained
from compilespan.journal.reader import ProcessJournal
from compilespan.sdk.deaths import report_death

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from compilespan import CompileRecord
    from compilespan.journal.snapshot import ProcessSnapshot

_SLICE_S = _REST_S = 0.002
"""How long a journal is read at a stretch: so long may the event loop have to wait."""


class FollowedJournal:
    """The journal, and what was known of its process at the last look."""

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
        """``False`` where lines were left out, or where reading it went wrong."""
        return self._journal.is_complete and not self._has_failed

    def look(self) -> ProcessSnapshot | None:
        """Read on, with pauses; returns what is known now, ``None`` before the first line."""
        was_running = self._snapshot is None or self._snapshot.is_running
        is_running = was_running and self._journal.is_running
        seen = self._state()
        if seen == self._seen and is_running == was_running:
            return self._snapshot
        self._seen, self._has_failed = seen, True
        if seen is None:
            return self._snapshot  # away: what was read counts on
        with contained(f"read {self.path.name}"):
            while self._journal.refresh(time.monotonic() + _SLICE_S).has_more:
                time.sleep(_REST_S)
            self._snapshot = self._journal.snapshot() if self._journal.process else None
            # Who died before a first line left nothing; what else has none is no journal.
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
