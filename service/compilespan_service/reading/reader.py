"""The only reader of journals: a thread that publishes snapshots.

Most requests use the latest snapshot. Requests for figures first request a new one and wait briefly
for it, so that what another worker has just written counts.
"""

from __future__ import annotations

import dataclasses
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from compilespan import get_ledger
from compilespan.journal.directory import complain
from compilespan.journal.files import JournalName, first_line, in_file_name
from compilespan.journal.locks import is_written
from compilespan.process import fork_safe_lock, instance_id
from compilespan.process.faults import contained
from compilespan_service.reading.followed import FollowedJournal
from compilespan_service.reading.listing import Listing
from compilespan_service.reading.past import PastStarts
from compilespan_service.reading.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from compilespan import CompileRecord

    OnRecord = Callable[[CompileRecord], object]
    OnJob = Callable[[Mapping[str, Any]], object]

_EVERY_S = 0.25
_MAX_FOLLOWED = 1024
_SLICE_S, _REST_S = 0.0005, 0.008
"""Seconds of reading earlier starts, which is not urgent, and of the pause after it."""


class Reader:
    """Reads a state directory; `reader_of` returns a directory's reader."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.snapshot = Snapshot()
        """The latest one; it is replaced, never changed."""
        self.reads_others = False
        """Whether to follow other running instances, too, not only for the history."""
        self._followers: list[tuple[OnRecord, OnJob]] = []
        self._to_prepare: list[Callable[[], object]] = []
        self._listing = Listing(directory)
        self._journals: dict[Path, FollowedJournal] = {}
        self._ended: set[Path] = set()
        self._past = PastStarts()
        self._wake = threading.Event()
        self._turn = threading.Condition()
        self._begun = self._done = 0
        self._has_more = True
        self._is_started = False

    def follow(
        self,
        prepare: Callable[[], object],
        on_record: OnRecord,
        on_job: OnJob,
    ) -> None:
        """Call back once with each record and job of another process, in the reader's thread.

        None is missed if this is called before `start`. ``prepare`` is called before the first.
        """
        self._to_prepare.append(prepare)
        self._followers.append((on_record, on_job))

    def start(self) -> None:
        """Begin to read, in a thread that ends when this object is garbage-collected."""
        with _lock:
            if self._is_started:
                return
            self._is_started = True
        threading.Thread(
            target=_read,
            args=(weakref.ref(self), self._wake),
            name="compilespan-reader",
            daemon=True,
        ).start()

    def refreshed(self, timeout_s: float, *, past: bool = False) -> bool:
        """Request a new snapshot; return ``False`` if it takes longer than ``timeout_s``.

        Args:
            timeout_s: Seconds to wait for it.
            past: Whether to wait until the other starts are read, too.
        """
        with self._turn:
            wanted = self._begun + 1
            self._wake.set()
            return self._turn.wait_for(
                lambda: self._done >= wanted and not (past and self._has_more), timeout_s
            )

    def look(self) -> None:
        """Read new lines in the journals of this instance, and list the other journals."""
        with self._turn:
            self._begun += 1
        while self._to_prepare:
            with contained("prepare for reading journals"):
                self._to_prepare.pop(0)()
        with contained("read the journals"):
            self._look()
        self._turn_over(has_more=True)

    def read_past(self) -> bool:
        """Read a slice of the journals of other starts; return ``True`` if more is left to read."""
        has_more = False
        with contained("read the journals of other starts"):
            has_more = self._past.step(time.monotonic() + _SLICE_S)
            if self.snapshot.past is not self._past.summaries:
                self.snapshot = dataclasses.replace(self.snapshot, past=self._past.summaries)
        self._turn_over(has_more=has_more)
        return has_more

    def _turn_over(self, *, has_more: bool) -> None:
        with self._turn:
            self._done, self._has_more = self._begun, has_more
            self._turn.notify_all()

    def _look(self) -> None:
        own = get_ledger().journal
        found = self._listing.names()
        others = {path: name for path, name in found.items() if own is None or path != own.path}
        self._ended.intersection_update(found)
        wanted = self._wanted(others)
        for path in wanted:
            if path not in self._journals and len(self._journals) < _MAX_FOLLOWED:
                self._journals[path] = FollowedJournal(path, self._record, self._job)
        # A journal whose records were counted is kept, even if its file disappears for a while.
        followed = sorted(self._journals.items())
        seen = [journal.look() for _, journal in followed]
        incomplete = [path for path, each in followed if not each.is_complete]
        incomplete += [path for path in wanted if path not in self._journals]
        if incomplete:
            complain(self.directory, incomplete[0].name)
        self._past.look(path for path in reversed(others) if path not in self._journals)
        self.snapshot = Snapshot(
            tuple(each for each in seen if each is not None),
            self._past.summaries,
            frozenset(found),
            frozenset(name.instance for name in map(JournalName.of, incomplete) if name),
            is_listed=self._listing.is_complete,
        )

    def _wanted(self, names: Mapping[Path, JournalName]) -> list[Path]:
        """Return the journals to follow: of this instance, and of others if ``reads_others``."""
        instances = {in_file_name(instance_id())}
        if self.reads_others:
            instances |= {name.instance for path, name in names.items() if self._is_written(path)}
        return [path for path, name in names.items() if name.instance in instances]

    def _is_written(self, path: Path) -> bool:
        if path in self._ended:
            return False
        process = first_line(path)
        is_running = is_written(path, process)
        if process and not is_running:
            self._ended.add(path)
        return is_running

    def _record(self, record: CompileRecord) -> None:
        for on_record, _ in self._followers:
            with contained("follow the records of other processes"):
                on_record(record)

    def _job(self, job: Mapping[str, Any]) -> None:
        for _, on_job in self._followers:
            with contained("follow the jobs of other processes"):
                on_job(job)


_readers: weakref.WeakValueDictionary[tuple[int, Path], Reader] = weakref.WeakValueDictionary()
_lock = fork_safe_lock()


def reader_of(directory: Path) -> Reader:
    """Return this process's reader of a directory; the caller starts it."""
    with _lock:
        key = (os.getpid(), directory.absolute())
        if (reader := _readers.get(key)) is None:
            reader = _readers[key] = Reader(directory)
        return reader


def _read(reference: weakref.ref[Reader], wake: threading.Event) -> None:
    """Read this start again and again, and the other starts in between."""
    while (reader := reference()) is not None:
        wake.clear()
        reader.look()
        until_s = time.monotonic() + _EVERY_S
        while True:
            has_more = reader.read_past()
            left_s = max(0.0, until_s - time.monotonic())
            if wake.wait(min(left_s, _REST_S) if has_more else left_s) or left_s == 0.0:
                break
        del reader
