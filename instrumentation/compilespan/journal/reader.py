"""Reads a journal: what its process compiled so far, and how it ended."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from typing import TYPE_CHECKING, Any, ClassVar

from compilespan.journal.files import open_to_read
from compilespan.journal.lines import MAX_LINE_BYTES, FormatError, parsed
from compilespan.journal.locks import is_written, lock, set_times
from compilespan.ledger.records import CompileRecord
from compilespan.ledger.totals import TotalsBuilder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from compilespan.semconv import Component

_logger = logging.getLogger("compilespan")

_MAX_RECORDS = 4096
_MAX_JOBS = 64
_MAX_BEGUN = 4096
_MAX_PARTS = 64


@dataclasses.dataclass(frozen=True, slots=True)
class Begun:
    """A compile without an end in the file: going on, or cut off by the process's death.

    Attributes:
        name: See `CompileRecord`.
        component: As known at the start.
        start_ns: Nanoseconds since the epoch.
        elapsed_s: Seconds until the process last gave a sign of life.
        graphs: Graphs that were through by then.
    """

    name: str
    component: Component
    start_ns: int
    elapsed_s: float
    graphs: int

    @property
    def is_encoder(self) -> bool:
        """Whether it is an encoder's."""
        return self.component == "encoder"


class ProcessJournal:
    """One process's file, read on from where the last `refresh` stopped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.process: dict[str, Any] = {}
        """Who wrote it: ``instance``, ``pid``, ``rank``, ``started_ns``, ``versions``."""
        self.builder = TotalsBuilder()
        self.records: list[CompileRecord] = []
        """The last 4096."""
        self.on_record: Callable[[CompileRecord], object] | None = None
        """Called with each record as it is read."""
        self.record_count = 0
        """How many it ever wrote."""
        self.ready_after_s: float | None = None
        self._jobs: dict[str, dict[str, Any]] = {}
        self.startup: dict[str, Any] | None = None
        """Ids of its ``startup`` span, where it has one."""
        self.startup_s: dict[str, float] = {}
        """Seconds by startup phase."""
        self.startup_phases: list[dict[str, Any]] = []
        """The same in order: ``phase``, ``seconds``, ``start_ns``."""
        self.dropped: dict[str, int] = {}
        self.is_reported = False
        """Whether another process told of its death."""
        self.exit_reason: str | None = None
        self.is_complete = True
        """``False`` where lines were left out, by the writer's cap or as unreadable."""
        self._offset = 0
        self._is_refused = False
        self._begun: dict[int, dict[str, Any]] = {}

    def refresh(self) -> ProcessJournal:
        """Read what was written since; a torn last line is left for the next time."""
        try:
            with open_to_read(self.path) as file:
                file.seek(self._offset)
                while not self._is_refused and (line := file.readline(MAX_LINE_BYTES)):
                    if line.endswith(b"\n"):
                        self._line(line)
                    elif len(line) < MAX_LINE_BYTES:
                        break
                    else:  # what follows is read as lines of their own, until one is valid
                        self._skip("a line is longer than any that is written")
                    self._offset += len(line)
        except OSError as error:
            self._skip(error)
        return self

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """The last 64 warmup jobs that ended, in order."""
        return list(self._jobs.values())

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return is_written(self.path, self.process)

    @property
    def seen_ns(self) -> int:
        """When the process last gave a sign of life, in nanoseconds since the epoch."""
        try:
            return self.path.stat().st_mtime_ns
        except OSError:
            return 0

    @property
    def in_progress(self) -> tuple[Begun, ...]:
        """Compiles without an end, oldest first."""
        return tuple(
            Begun(
                begun["name"],
                begun["component"],
                begun["start_ns"],
                max(0.0, (self.seen_ns - begun["start_ns"]) / 1e9),
                begun.get("graphs", 0),
            )
            for begun in self._begun.values()
        )

    @property
    def interrupted(self) -> tuple[Begun, ...]:
        """What was compiling when the process died; nothing where it ended in its own words."""
        died = self.exit_reason is None and not self.is_running
        return self.in_progress if died else ()

    def _line(self, line: bytes) -> None:
        if line == b"\n":
            return
        try:
            line_type, values = parsed(line)
            if not self.process and line_type != "process":
                self._refuse("it does not begin with who writes it")
                return
            take = self._TAKE.get(line_type)
            if take is not None:  # else of a newer version
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
        """Note that something is left out."""
        if self.is_complete:
            _logger.debug("compilespan: %s is not read completely: %s", self.path, why)
        self.is_complete = False

    def _process(self, values: dict[str, Any]) -> None:
        if not self.process:
            self.process = values

    def _begin(self, values: dict[str, Any]) -> None:
        if len(self._begun) < _MAX_BEGUN:
            self._begun[values["key"]] = values

    def _progress(self, values: dict[str, Any]) -> None:
        if begun := self._begun.get(values["key"]):
            begun["graphs"] = values["graphs"]

    def _end(self, values: dict[str, Any]) -> None:
        self._begun.pop(values["key"], None)
        if values["record"] is not None:
            record = CompileRecord.from_json(values["record"])
            self.builder.add(record)
            self.records.append(record)
            self.record_count += 1
            del self.records[:-_MAX_RECORDS]
            if self.on_record is not None:
                self.on_record(record)

    def _ready(self, values: dict[str, Any]) -> None:
        self.ready_after_s = values["after_s"]
        self.startup_s["total"] = values["after_s"]

    def _startup(self, values: dict[str, Any]) -> None:
        self.startup = values

    def _startup_phase(self, values: dict[str, Any]) -> None:
        if values["phase"] in self.startup_s or len(self.startup_s) < _MAX_PARTS:
            self.startup_s[values["phase"]] = values["seconds"]
        if len(self.startup_phases) < _MAX_PARTS:
            self.startup_phases.append(values)

    def _job(self, values: dict[str, Any]) -> None:
        self._jobs[values["id"]] = values
        while len(self._jobs) > _MAX_JOBS:
            del self._jobs[next(iter(self._jobs))]

    def _dropped(self, values: dict[str, Any]) -> None:
        if values["signal"] in self.dropped or len(self.dropped) < _MAX_PARTS:
            self.dropped[values["signal"]] = values["count"]

    def _exit(self, values: dict[str, Any]) -> None:
        self.exit_reason = values["reason"]

    def _reported(self, _: dict[str, Any]) -> None:
        self.is_reported = True

    def _truncated(self, _: dict[str, Any]) -> None:
        self.is_complete = False

    _TAKE: ClassVar[dict[str, Callable[[ProcessJournal, dict[str, Any]], None]]] = {
        "process": _process,
        "begin": _begin,
        "progress": _progress,
        "end": _end,
        "ready": _ready,
        "startup": _startup,
        "startup_phase": _startup_phase,
        "job": _job,
        "dropped": _dropped,
        "exit": _exit,
        "reported": _reported,
        "truncated": _truncated,
    }


def append(process: ProcessJournal, line_type: str) -> bool:
    """Add a line to the journal of a process that is gone; ``False`` if another does so now.

    The file's modification time stays: it says how long the process lived.
    """
    with open_to_read(process.path, os.O_WRONLY | os.O_APPEND) as file:
        stat = os.fstat(file.fileno())
        if lock(file) is False:
            return False
        process.refresh()
        if process.is_reported:
            return False
        # On a line of its own, whatever the process was writing when it died.
        file.write(b"\n" + json.dumps({"type": line_type}).encode() + b"\n")
        file.flush()
        set_times(file.fileno(), process.path, stat.st_atime_ns, stat.st_mtime_ns)
    return True
