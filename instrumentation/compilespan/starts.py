"""Reads journals: totals of all processes of a start, and how earlier starts ended."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

from compilespan.journal import FORMAT, SUFFIX, is_written
from compilespan.records import CompileRecord
from compilespan.totals import TotalsBuilder

_logger = logging.getLogger("compilespan")

_MAX_RECORDS = 4096


@dataclasses.dataclass(frozen=True, slots=True)
class Begun:
    """A compile without an end in the file: going on, or cut off by the process's death.

    Attributes:
        name: See `CompileRecord`.
        is_encoder: As known at the start.
        start_ns: Nanoseconds since the epoch.
        elapsed_s: Seconds until the process last gave a sign of life.
        graphs: Graphs that were through by then.
    """

    name: str
    is_encoder: bool
    start_ns: int
    elapsed_s: float
    graphs: int


class ProcessJournal:
    """One process's file, read on from where the last `refresh` stopped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.process: dict[str, Any] = {}
        """Who wrote it: ``instance``, ``pid``, ``rank``, ``started_ns``, ``versions``."""
        self.builder = TotalsBuilder()
        self.records: list[CompileRecord] = []
        """The last 4096."""
        self.ready_after_s: float | None = None
        self.jobs: list[dict[str, Any]] = []
        self.exit_reason: str | None = None
        self.is_complete = True
        """``False`` where lines were left out, by the writer's cap or as unreadable."""
        self._offset = 0
        self._begun: dict[int, dict[str, Any]] = {}

    def refresh(self) -> ProcessJournal:
        """Read what was written since; a torn last line is left for the next time."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._offset += len(line)
                    self._line(line)
        except OSError as error:
            self.is_complete = False
            _logger.debug("compilespan: %s cannot be read: %s", self.path, error)
        return self

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return is_written(self.path)

    @property
    def in_progress(self) -> tuple[Begun, ...]:
        """Compiles without an end, oldest first."""
        try:
            seen_s = self.path.stat().st_mtime
        except OSError:
            seen_s = 0.0
        return tuple(
            Begun(
                begun["name"],
                begun["is_encoder"],
                begun["start_ns"],
                max(0.0, seen_s - begun["start_ns"] / 1e9),
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
        try:
            values = json.loads(line)
            self._take(values.pop("type"), values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.is_complete = False
            _logger.debug("compilespan: unreadable line in %s: %r", self.path, error)

    def _take(self, line_type: str, values: dict[str, Any]) -> None:
        if line_type == "process":
            self.is_complete &= values["format"] == FORMAT
            self.process = values
        elif line_type == "begin":
            self._begun[values["key"]] = values
        elif line_type == "progress":
            self._begun[values["key"]]["graphs"] = values["graphs"]
        elif line_type == "end":
            self._begun.pop(values["key"], None)
            if values["record"] is not None:
                record = CompileRecord.from_json(values["record"])
                self.builder.add(record)
                self.records.append(record)
                del self.records[:-_MAX_RECORDS]
        elif line_type == "ready":
            self.ready_after_s = values["after_s"]
        elif line_type == "job":
            self.jobs = [job for job in self.jobs if job.get("id") != values.get("id")]
            self.jobs.append(values)
        elif line_type == "exit":
            self.exit_reason = values["reason"]
        elif line_type == "truncated":
            self.is_complete = False


class StateDirectory:
    """All journals of a directory, each read only once."""

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        self._files: dict[Path, ProcessJournal] = {}

    def processes(self, instance: str | None = None) -> list[ProcessJournal]:
        """Return the processes that wrote here, oldest first; those of one instance if named."""
        paths = sorted(self.directory.glob(f"*{SUFFIX}"))
        self._files = {path: self._files.get(path) or ProcessJournal(path) for path in paths}
        found = [journal.refresh() for journal in self._files.values()]
        return [
            journal
            for journal in found
            if journal.process and instance in (None, journal.process["instance"])
        ]

    def interrupted(self) -> list[tuple[ProcessJournal, Begun]]:
        """Return what was compiling when its process died, oldest first."""
        return [(journal, begun) for journal in self.processes() for begun in journal.interrupted]
