"""Reads a journal: what its process compiled so far, and how it ended."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Any, ClassVar

from compilespan.journal.files import MAX_BYTES, JournalName, in_file_name, open_to_read
from compilespan.journal.lines import MAX_LINE_BYTES, FormatError, parsed
from compilespan.journal.locks import is_written
from compilespan.journal.memory import Memory
from compilespan.journal.snapshot import Begun, ProcessSnapshot, spans_of
from compilespan.ledger.cache_use import CacheUse
from compilespan.ledger.entries import Mark, Ready
from compilespan.ledger.readiness import MAX_MARKS
from compilespan.ledger.records import CompileRecord
from compilespan.ledger.segments import Doer
from compilespan.ledger.totals import TotalsBuilder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_logger = logging.getLogger("compilespan")

MAX_RECORDS = 4096
_MAX_BEGUN = 4096
_MAX_SIGNALS = 64


def _ignore(_: object) -> None:
    """Do nothing: the default callback."""


class ProcessJournal:
    """The journal of one process; each `refresh` continues where the last one stopped."""

    def __init__(
        self,
        path: Path,
        *,
        keep: int = MAX_RECORDS,
        on_record: Callable[[CompileRecord], object] = _ignore,
        on_job: Callable[[Mapping[str, Any]], object] = _ignore,
    ) -> None:
        """Prepare to read; `refresh` opens the file.

        Args:
            path: The file.
            keep: How many records to keep, the latest ones.
            on_record: Called with each record as it is read.
            on_job: Called with each warmup job that ended, as it is read.
        """
        self.path = path
        self._keep = keep
        self._on_record, self._on_job = on_record, on_job
        self.process: dict[str, Any] = {}
        """Who wrote it: ``instance``, ``pid``, ``rank``, ``started_ns``, ``versions``."""
        self.builder = TotalsBuilder()
        self.records: list[CompileRecord] = []
        """The latest records; `record_count` counts all."""
        self.record_count = 0
        self.ready: Ready | None = None
        self.startup: dict[str, Any] | None = None
        """Ids of its ``startup`` span, empty without the SDK; ``None`` if it began no such span."""
        self.marks: list[Mark] = []
        """What it did before it was ready."""
        self.dropped: dict[str, int] = {}
        self.added: set[str] = set()
        """Types of lines about its end that were read: ``summary``, ``reported``."""
        self.exit_reason: str | None = None
        self.memory: Memory | None = None
        self.is_complete = True
        """``False`` if lines are missing: over the writer's size limit, or unreadable."""
        self.has_more = False
        """Whether `refresh` stopped before the end, because its time was up."""
        self._offset = 0
        self._is_refused = False
        self._begun: dict[int, dict[str, Any]] = {}

    def refresh(self, until_s: float = math.inf) -> ProcessJournal:
        """Read what was written since the last call; an unfinished last line is left for the next.

        Args:
            until_s: When to stop, in seconds of ``time.monotonic``.
        """
        self.has_more = False
        try:
            with open_to_read(self.path) as file:
                file.seek(self._offset)
                while not self._is_refused and (line := file.readline(MAX_LINE_BYTES)):
                    if line.endswith(b"\n"):
                        self._line(line)
                    elif len(line) < MAX_LINE_BYTES:
                        break
                    elif self.process:  # the rest is read as lines until one is valid
                        self._skip("a line is longer than the writer allows")
                    else:
                        self._refuse("its first line is longer than the writer allows")
                    self._offset += len(line)
                    if self._offset > 2 * MAX_BYTES:
                        self._refuse("it is larger than the writer allows")
                    if time.monotonic() >= until_s:
                        self.has_more = True
                        break
        except OSError as error:
            self._skip(error)
        return self

    @property
    def is_running(self) -> bool:
        """Whether the process is alive."""
        return is_written(self.path, self.process)

    @property
    def seen_ns(self) -> int:
        """When the process last touched its journal, in ns since the epoch; 0 if unknown."""
        try:
            return self.path.stat().st_mtime_ns
        except OSError:
            return 0

    @property
    def in_progress(self) -> tuple[Begun, ...]:
        """Compiles that have not ended, oldest first."""
        return tuple(Begun.of(begun, self.seen_ns) for begun in self._begun.values())

    @property
    def doer(self) -> Doer:
        """What the process did in its start."""
        compiling = spans_of(self.in_progress if self.exit_reason is None else (), self.is_running)
        return Doer(self.marks, self.builder.intervals, compiling)

    @property
    def interrupted(self) -> tuple[Begun, ...]:
        """What was compiling when the process died; empty if it recorded its exit or is alive."""
        died = self.exit_reason is None and not self.is_running
        return self.in_progress if died else ()

    def snapshot(self) -> ProcessSnapshot:
        """Return what was read so far."""
        return ProcessSnapshot(
            self.path,
            self.process,
            self.builder.copy(),
            tuple(self.records),
            self.record_count,
            self.in_progress,
            self.is_running,
            self.startup is not None,
            self.ready,
            tuple(self.marks),
            dict(self.dropped),
            self.exit_reason,
            self.memory,
        )

    def _line(self, line: bytes) -> None:
        if line == b"\n":
            return
        try:
            line_type, values = parsed(line)
            if not self.process and line_type != "process":
                self._refuse("its first line does not identify its process")
                return
            take = self._TAKE.get(line_type)
            if take is not None:  # else a newer version wrote it
                take(self, values)
        except FormatError as error:
            self._refuse(error)
        except (ValueError, TypeError, OverflowError) as error:  # a record may contradict itself
            self._skip(error)

    def _refuse(self, why: object) -> None:
        """Read no more of this file."""
        self._is_refused = True
        self._skip(why)

    def _skip(self, why: object) -> None:
        """Note that the file is not read completely; log the first reason."""
        if self.is_complete:
            _logger.debug("compilespan: %s is not read completely: %s", self.path, why)
        self.is_complete = False

    def _process(self, values: dict[str, Any]) -> None:
        name = JournalName.of(self.path)
        if name is not None and name.instance != in_file_name(values["instance"]):
            self._refuse(f"its name does not belong to instance {values['instance']!r}")
        elif not self.process:
            self.process = values

    def _begin(self, values: dict[str, Any]) -> None:
        if len(self._begun) < _MAX_BEGUN:
            self._begun[values["key"]] = values

    def _progress(self, values: dict[str, Any]) -> None:
        if begun := self._begun.get(values["key"]):
            begun["graphs"] = values["graphs"]
            begun["stage"] = values.get("stage")

    def _end(self, values: dict[str, Any]) -> None:
        self._begun.pop(values["key"], None)
        if values["record"] is not None:
            record = CompileRecord.from_json(values["record"])
            self.builder.add(record)
            self.records.append(record)
            self.record_count += 1
            del self.records[: max(0, len(self.records) - self._keep)]
            self._on_record(record)

    def _ready(self, values: dict[str, Any]) -> None:
        self.ready = Ready.of(values)

    def _startup(self, values: dict[str, Any]) -> None:
        self.startup = values

    def _mark(self, values: dict[str, Any]) -> None:
        if len(self.marks) < MAX_MARKS:
            self.marks.append(Mark.of(values))

    def _cache(self, values: dict[str, Any]) -> None:
        self.builder.cache_use = CacheUse.of(values)

    def _dropped(self, values: dict[str, Any]) -> None:
        if values["signal"] in self.dropped or len(self.dropped) < _MAX_SIGNALS:
            self.dropped[values["signal"]] = values["count"]

    def _memory(self, values: dict[str, Any]) -> None:
        self.memory = Memory.of(values)

    def _exit(self, values: dict[str, Any]) -> None:
        self.exit_reason = values["reason"]

    def _truncated(self, _: dict[str, Any]) -> None:
        self.is_complete = False

    _TAKE: ClassVar[dict[str, Callable[[ProcessJournal, dict[str, Any]], object]]] = {
        "process": _process,
        "begin": _begin,
        "progress": _progress,
        "end": _end,
        "ready": _ready,
        "startup": _startup,
        "mark": _mark,
        "job": lambda self, values: self._on_job(values),
        "cache": _cache,
        "dropped": _dropped,
        "memory": _memory,
        "exit": _exit,
        "reported": lambda self, _: self.added.add("reported"),
        "summary": lambda self, _: self.added.add("summary"),
        "truncated": _truncated,
    }
