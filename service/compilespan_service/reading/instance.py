"""The processes of this start: from this one's ledger and the others' journals."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from compilespan import get_ledger
from compilespan.journal.files import in_file_name
from compilespan.ledger.start import Start
from compilespan.process import instance_id, now_ns
from compilespan_service.reading.reader import Reader, reader_of
from compilespan_service.reading.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from compilespan import CompileRecord
    from compilespan.journal.snapshot import Begun, ProcessSnapshot
    from compilespan.ledger.active import CompileBegun

_FLUSH_S = 0.5
_WAIT_S, _WAIT_FOR_PAST_S = 0.5, 1.0
"""Longest wait in seconds for what other workers have just written, and for the history."""


class Instance:
    """All workers of one server; a `compilespan.telemetry.metrics.MetricsSource`.

    Only `refresh` waits; everything else reports the reader's latest snapshot.
    """

    def __init__(
        self,
        expected: int | None = None,
        *,
        follows: bool = False,
        all_starts: Callable[[], bool] = lambda: False,
    ) -> None:
        """Read nothing yet.

        Args:
            expected: Number of workers; ``None`` for ``WEB_CONCURRENCY``, else 1, and for a
                follower for all that it sees.
            follows: Whether the workers warm up by themselves: then those processes count that
                compile, be it this one or others.
            all_starts: Returns whether other running servers of the state directory count, too,
                because this one warms them over HTTP.
        """
        self._follows = follows
        self._sees_all = follows and expected is None
        self._expected = expected or (None if follows else expected_processes()) or 1
        self._all_starts = all_starts
        self._reader: Reader | None = None

    def open(
        self,
        prepare: Callable[[], object],
        on_record: Callable[[CompileRecord], object],
        on_job: Callable[[Mapping[str, Any]], object],
    ) -> None:
        """Find the journals of other processes; `start` reads them.

        Args:
            prepare: Called in the reader's thread, before anything is read.
            on_record: Called with each record of another process, once.
            on_job: Called with each ended warmup job of another process, once.
        """
        if (journal := get_ledger().journal) is not None:
            self._reader = reader_of(journal.directory)
            self._reader.follow(prepare, on_record, on_job)

    def start(self) -> None:
        """Begin to read, in a thread."""
        if self._reader is not None:
            self._reader.start()

    def stop(self) -> None:
        """Stop reading."""
        self._reader = None

    def refresh(self, *, past: bool = False) -> bool:
        """Write this process's records, and read those of others; wait only briefly.

        Args:
            past: Whether to wait for earlier starts, too.

        Returns:
            ``False`` if the reader is behind, so that the snapshot is incomplete.
        """
        if (journal := get_ledger().journal) is not None:
            journal.flush(_FLUSH_S)
        if (reader := self._reader) is not None:  # `stop` may be called meanwhile
            if self._all_starts():
                reader.reads_others = True
            return reader.refreshed(_WAIT_FOR_PAST_S if past else _WAIT_S, past=past)
        return get_ledger().journal is None

    @property
    def snapshot(self) -> Snapshot:
        """The latest snapshot of the state directory."""
        return reader.snapshot if (reader := self._reader) is not None else Snapshot()

    @property
    def others(self) -> Sequence[ProcessSnapshot]:
        """The other processes, ended ones too; if ``all_starts``, those of any running instance."""
        found = self.snapshot.processes
        living = {instance_id()}
        if self._all_starts():
            living |= {each.instance for each in found if each.is_running}
        return [each for each in found if each.instance in living]

    @property
    def is_complete(self) -> bool:
        """``False`` if a journal that counts is incomplete, or the directory cannot be listed."""
        snapshot = self.snapshot
        counts = snapshot.incomplete
        if not self._all_starts():
            counts &= {in_file_name(instance_id())}
        return snapshot.is_listed and not counts

    @property
    def _workers(self) -> Sequence[ProcessSnapshot]:
        """The other workers that run: servers, or for a follower all others that compile."""
        own = instance_id()
        return [
            each
            for each in self.others
            if each.instance == own and each.is_running
            if (_holds_a_model(each) if self._follows else each.is_server)
        ]

    @property
    def _is_worker(self) -> bool:
        """Whether this process is one of the workers: a follower that its program declared ready.

        A program that warms up before it serves does not serve a follower's endpoints earlier.
        """
        ready = get_ledger().readiness.ready
        return not self._follows or (ready is not None and ready.by_program)

    @property
    def process_count(self) -> int:
        """Number of workers: those that run, or the expected ones if those are more."""
        return max(self._is_worker + len(self._workers), self._expected)

    def unready(self) -> str | None:
        """Return a message if other workers are not ready yet; ``None`` if all are."""
        others = sum(each.ready_after_s is not None for each in self._workers)
        ready = self._is_worker + others
        count = self._expected if self._follows and not self._sees_all else self.process_count
        return None if ready >= count else f"{ready} of {count} processes are ready"

    def unready_now(self) -> str | None:
        """Return the same after a look at the journals of others; waits briefly."""
        if (reader := self._reader) is not None:
            reader.refreshed(_WAIT_S)
        return self.unready()

    def in_progress(self) -> Sequence[CompileBegun | Begun]:
        """Return the running compiles of all processes."""
        return [
            *get_ledger().active.now(),
            *(begun for each in self.others if each.is_running for begun in each.in_progress),
        ]

    @property
    def ready_after_s(self) -> float | None:
        """Seconds until the last worker was ready; ``None`` while one is not."""
        own = get_ledger().readiness.after_s
        others = [each.ready_after_s for each in self._workers]
        if own is None or self.unready() is not None:
            return None
        return max([*([own] if self._is_worker else []), *filter(None, others)], default=own)

    @property
    def startup(self) -> Start:
        """The start over all processes, until the last worker was ready, or until now.

        It begins when the process of that worker was created.
        """
        after_s = self.ready_after_s
        since_ns = self.began_ns
        end_ns = now_ns() if after_s is None else since_ns + round(after_s * 1e9)
        doers = [get_ledger().doer, *(each.doer for each in self.others)]
        return Start.of(since_ns, end_ns, doers)

    @property
    def began_ns(self) -> int:
        """Creation of the worker that was ready last, in nanoseconds since the epoch."""
        after_s = self.ready_after_s
        for each in self._workers:
            if after_s is not None and each.ready_after_s == after_s:
                return int(each.process["started_ns"])
        return get_ledger().readiness.since_ns

    @property
    def dropped(self) -> Mapping[str, int]:
        """How much was lost in all processes, by signal."""
        lost = dict(get_ledger().followers.dropped)
        for each in self.others:
            for signal, count in each.dropped.items():
                lost[signal] = lost.get(signal, 0) + count
        return lost

    @property
    def quarantined(self) -> int:
        """Publications of the shared compile cache that its processes put into quarantine."""
        others = sum(each.totals.cache_use.quarantined for each in self.others)
        return get_ledger().totals().cache.quarantined + others


def _holds_a_model(process: ProcessSnapshot) -> bool:
    """Whether its program declared a process ready, or the process compiles and is no follower.

    Under `compilespan run` a process that only imported torch has a journal, too.
    """
    if process.ready is not None and process.ready.by_program:
        return True
    return bool(process.record_count or process.in_progress) and not process.is_server


def expected_processes() -> int | None:
    """Return the number of workers in ``WEB_CONCURRENCY`` (uvicorn, gunicorn), if it is set."""
    count = os.environ.get("WEB_CONCURRENCY", "")
    return int(count) if count.isdecimal() and int(count) > 0 else None
