"""Earlier starts and those of other servers: one summary for each process.

They are read for ``/history`` and the findings: newest first, in short slices, and only the last
`MAX_STARTS`. A journal that ends with its summary costs one read. The journal of a killed process
is read whole once and then gets a summary, so that the next start reads only that.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from compilespan.journal.appending import sum_up
from compilespan.journal.directory import complain
from compilespan.journal.files import JournalName
from compilespan.journal.reader import ProcessJournal
from compilespan.journal.summary import Summary
from compilespan.process.faults import contained
from compilespan.sdk.deaths import report_death

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

MAX_STARTS = 100
_YOUNG_S = 10.0
"""A younger file without a first line may still get one."""


class PastStarts:
    """Reads the journals of other starts, a slice at each call."""

    def __init__(self) -> None:
        self._known: dict[Path, Summary | None] = {}
        self._unread: list[Path] = []
        self._journals: dict[Path, ProcessJournal] = {}
        """Journals of running processes, and the one that is being read."""
        self._has_complained = False
        self.summaries: Sequence[Summary] = ()
        """Summaries read so far, newest first; a start is added when all its processes are read."""

    def look(self, newest_first: Iterable[Path]) -> None:
        """Take the current files; the next steps read new ones and those of running processes."""
        instances: set[str] = set()
        paths = []
        for path in newest_first:
            name = JournalName.of(path)
            if name is None or (name.instance not in instances and len(instances) >= MAX_STARTS):
                continue
            instances.add(name.instance)
            paths.append(path)
        known = {path: self._known[path] for path in paths if path in self._known}
        are_gone = len(known) < len(self._known)
        self._known = known
        self._journals = {path: self._journals[path] for path in paths if path in self._journals}
        self._unread = [path for path in paths if path not in self._known or self._lives(path)]
        if are_gone:
            self._tell()

    def step(self, until_s: float) -> bool:
        """Read until ``until_s`` of ``time.monotonic``; return ``True`` if more is left to read."""
        has_news = False
        while self._unread:
            path = self._unread.pop(0)
            has_more = False
            with contained(f"read {path.name}"):
                has_more = self._read(path, until_s)
            if has_more:
                self._unread.insert(0, path)
                break
            has_news = True
            if time.monotonic() >= until_s:
                break
        if has_news:
            self._tell()
        return bool(self._unread)

    def _tell(self) -> None:
        unread = {_instance(path) for path in self._unread if path not in self._known}
        self.summaries = [
            summary
            for path in sorted(self._known, reverse=True)
            if (summary := self._known[path]) is not None and _instance(path) not in unread
        ]

    def _lives(self, path: Path) -> bool:
        known = self._known[path]
        return known is not None and known.is_running

    def _read(self, path: Path, until_s: float) -> bool:
        """Read more of one journal; return ``True`` if it is not at its end."""
        if path not in self._journals and (summary := Summary.at_end_of(path)) is not None:
            self._known[path] = summary
            return False
        journal = self._journals.get(path)
        if journal is None:
            journal = self._journals[path] = ProcessJournal(path, keep=0)
        was_running = journal.is_running  # before the read: a dead process writes no more
        if journal.refresh(until_s).has_more:
            return True
        if not journal.is_complete and not self._has_complained:
            self._has_complained = True
            complain(path.parent, path.name)
        if not journal.process:
            self._set_aside(path)
            return False
        if was_running:
            self._known[path] = Summary.of(journal.snapshot())
        else:
            del self._journals[path]
            report_death(journal)
            self._known[path] = sum_up(journal)
        return False

    def _set_aside(self, path: Path) -> None:
        del self._journals[path]
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _YOUNG_S:
                self._known[path] = None


def _instance(path: Path) -> str:
    name = JournalName.of(path)
    return name.instance if name is not None else ""
