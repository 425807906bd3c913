"""The ledger's append-only file, which survives the process and which other processes read.

With a state directory each process writes JSON lines to its own file: its identity, each compile
as it begins and as it ends, when it was ready, the results of its warmup jobs. A separate thread
opens and writes the file, so that a full or hanging disk costs telemetry and nothing else. While
something compiles, the file's modification time is renewed each second: after a kill it shows how
long the compile went on. `compilespan.journal.reader` reads these files.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from compilespan.journal.files import MAX_BYTES, STARTED, JournalName, in_file_name, prune
from compilespan.journal.lines import MAX_LINE_BYTES
from compilespan.journal.locks import touch
from compilespan.journal.memory import Memory, resident_bytes
from compilespan.journal.own_file import OwnFile
from compilespan.journal.summary import LINE_TYPE, Summary, who
from compilespan.ledger.active import CompileBegun
from compilespan.ledger.cache_use import CacheUse
from compilespan.ledger.entries import Ended, Entry, Mark, Ready
from compilespan.ledger.ledger import CompileLedger, get_ledger
from compilespan.process import instance_id, now_ns
from compilespan.process.faults import contained
from compilespan.process.limits import memory_bytes
from compilespan.telemetry.flushing import at_end_of_child

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compilespan.ledger.subscription import Subscription
    from compilespan.semconv import Stage

STATE_DIR = "COMPILESPAN_STATE_DIR"
BEAT_S = 1.0
GATHER_S = 0.05
"""While something compiles, a line waits this many seconds for others."""
_TRUNCATED = '{"type":"truncated"}'
_NEWS_OF_MEMORY = 1.02
"""A peak is written if it exceeds the last one by this factor."""

_logger = logging.getLogger("compilespan")


class Journal:
    """The journal of this process."""

    def __init__(self, directory: Path, ledger: CompileLedger) -> None:
        """Start the thread that writes; a directory that cannot be written is logged once.

        Args:
            directory: The state directory, created if it does not exist.
            ledger: The ledger whose entries are written.
        """
        started = time.strftime(STARTED, time.gmtime(ledger.readiness.since_ns / 1e9))
        self.directory = directory
        self.end_reason = "exit"
        """Exit reason of a process that ends by itself without an error."""
        name = JournalName(started, in_file_name(instance_id()), os.getpid())
        self.path = directory / str(name)
        self._ledger = ledger
        self._file: OwnFile | None = None
        self._progress: dict[int, tuple[int, Stage | None]] = {}
        self._peak_bytes = 0
        self._measured_s = 0.0
        self._dropped: dict[str, int] = {}
        self._is_closed = self._is_full = False
        self._has_complained = False
        self._subscription: Subscription[Entry | tuple[str, Mapping[str, Any]]] = (
            ledger.followers.follow(
                self._entry,
                signal="journal",
                prepare=self._open,
                idle=self._beat,
                gather_s=GATHER_S,
                first=lambda: [*ledger.readiness.marks_ended, *ledger.active.now()],
            )
        )

    def note(self, line_type: str, values: Mapping[str, Any]) -> None:
        """Queue a line of another type, e.g. ``job``; do not wait."""
        if not self._subscription.put((line_type, dict(values))):
            self._ledger.followers.note_dropped("journal")

    def close(self, reason: str | None = None, timeout_s: float = 2.0) -> None:
        """Write what is queued, the exit reason and a summary, within ``timeout_s`` seconds."""
        if self._is_closed:
            return
        reason = reason or ("failed" if _was_ended_by_an_error() else self.end_reason)
        self.note("exit", {"reason": reason, "time_ns": now_ns()})
        with contained("summarize the journal"):
            self.note(LINE_TYPE, Summary.of_ledger(self._ledger, reason).line())
        self._ledger.followers.unfollow(self._subscription, timeout_s)
        self.abandon()

    def flush(self, timeout_s: float = 2.0) -> bool:
        """Wait until what was recorded so far is written; ``True`` if it is."""
        return self._subscription.drain(timeout_s)

    def abandon(self) -> None:
        """Close the file without writing: in a forked child it belongs to the parent."""
        self._is_closed = True
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _open(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._file = OwnFile(self.path)
            self._write("process", {**who(self._ledger), "is_locked": self._file.is_locked})
            prune(self.directory)
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not self._has_complained:
            self._has_complained = True
            _logger.warning(
                "compilespan: %s cannot be written (%s); totals are kept in memory only. "
                "Free the disk, or choose another directory with %s.",
                self.path,
                error,
                STATE_DIR,
            )

    def _entry(self, entry: Entry | tuple[str, Mapping[str, Any]]) -> None:
        if isinstance(entry, CompileBegun):
            self._progress[entry.key] = (entry.graphs, entry.stage)
            self._write(
                "begin",
                {
                    "key": entry.key,
                    "name": entry.name,
                    "component": entry.component,
                    "start_ns": entry.start_ns,
                },
            )
        elif isinstance(entry, Ended):
            self._progress.pop(entry.key, None)
            record = entry.record.to_json() if entry.record is not None else None
            self._write("end", {"key": entry.key, "record": record})
        elif isinstance(entry, Ready):
            values = {name: getattr(entry, name) for name in entry.__slots__}
            self._write("ready", values)
        elif isinstance(entry, CacheUse):
            self._write("cache", entry.to_json())
        elif isinstance(entry, Mark):
            self._write("mark", entry._asdict())
        else:
            self._write(*entry)

    def _beat(self) -> float | None:
        """Record the progress of compiles; return after how many seconds to call again."""
        dropped = self._ledger.followers.dropped
        if dropped != self._dropped and not self._is_full and self._file is not None:
            self._dropped = dropped
            for signal, count in dropped.items():
                self._write("dropped", {"signal": signal, "count": count})
        active = self._ledger.active.now()
        for begun in active:
            # A compile whose "begin" is not written yet has no progress.
            now = (begun.graphs, begun.stage)
            if now != self._progress.get(begun.key, now):
                self._progress[begun.key] = now
                progress = {"key": begun.key, "graphs": begun.graphs, "stage": begun.stage}
                self._write("progress", progress)
        if not active:
            self._measured_s = time.monotonic()  # a compile of less than a second is not measured
        elif self._file is not None:
            self._note_memory()
            touch(self._file, self.path)
        return BEAT_S if active else None

    def _note_memory(self) -> None:
        now_s = time.monotonic()
        if now_s - self._measured_s < BEAT_S:
            return
        self._measured_s = now_s
        resident = resident_bytes()
        if resident > self._peak_bytes * _NEWS_OF_MEMORY:
            self._peak_bytes = resident
            self._write("memory", Memory(resident, memory_bytes())._asdict())

    def _write(self, line_type: str, values: Mapping[str, Any]) -> None:
        file = self._file
        is_last = line_type in ("exit", LINE_TYPE)  # written even over the size limit
        if file is None or (self._is_full and not is_last):
            self._ledger.followers.note_dropped("journal")
            return
        line = json.dumps({"type": line_type, **values}, separators=(",", ":"), default=str)
        if len(line) >= MAX_LINE_BYTES:
            self._ledger.followers.note_dropped("journal")
            return
        try:
            if file.tell() + len(line) + len(_TRUNCATED) + 2 > MAX_BYTES and not is_last:
                self._is_full = True
                line = _TRUNCATED
            # One write per line: a reader can see an unfinished line only at the end.
            file.write(line.encode() + b"\n")
        except OSError as error:
            self._ledger.followers.note_dropped("journal")
            self._complain(error)


def _was_ended_by_an_error() -> bool:
    """Whether the interpreter printed an uncaught exception, and not at a prompt."""
    return getattr(sys, "last_value", None) is not None and not hasattr(sys, "ps1")


def open_journal(directory: Path | str | None = None) -> Journal | None:
    """Open this process's journal if it is not open yet; do not wait for the disk.

    Args:
        directory: The state directory; defaults to that of ``COMPILESPAN_STATE_DIR``.

    Returns:
        The journal; ``None`` if no directory is named. A directory that cannot be written is
        only logged: telemetry never harms the program.
    """
    ledger = get_ledger()
    if directory is not None:
        # Spawned and forked children read it there.
        os.environ[STATE_DIR] = str(directory)
    named = os.environ.get(STATE_DIR)
    if named and ledger.journal is None:
        journal = ledger.journal = Journal(Path(named), ledger)
        # Write what is queued when the process ends by itself.
        atexit.register(journal.close)
        at_end_of_child(journal.close)
    return cast("Journal | None", ledger.journal)
