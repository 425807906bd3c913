"""The summary of a process in the last line of its journal, so that an old start costs one read.

The writer appends it when its process exits by itself. If the process was killed, the first reader
that has read the whole journal appends it.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from compilespan.journal.files import JournalName, in_file_name, open_to_read
from compilespan.journal.lines import FORMAT, LineError, parsed
from compilespan.journal.memory import Memory
from compilespan.journal.snapshot import Begun, spans_of
from compilespan.ledger.cache_use import CacheUse
from compilespan.ledger.entries import Mark
from compilespan.ledger.segments import Doer
from compilespan.ledger.totals import TotalsBuilder
from compilespan.process import device, identity, instance_id, now_ns
from compilespan.semconv import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from compilespan.journal.snapshot import ProcessSnapshot
    from compilespan.ledger.ledger import CompileLedger

LINE_TYPE = "summary"
_TAIL_BYTES = 256 * 1024
_SHOWN_NS = 10_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class Summary:
    """What ``/history`` reports about a process.

    Attributes:
        process: As in `ProcessSnapshot`.
        totals: The components' sums and the total; read-only, to be added to other sums.
        ready_after_s: Seconds until it was ready; ``None`` if it was not.
        marks: As in `ProcessSnapshot`.
        exit_reason: The reason that it recorded for its exit; ``None`` if it recorded none.
        is_running: Whether it is alive.
        interrupted: What was compiling when it died.
        memory: As in `ProcessSnapshot`.
        serving_s: Seconds of compiles, failed compiles and kernels after it was ready.
    """

    process: Mapping[str, Any]
    totals: TotalsBuilder
    ready_after_s: float | None
    marks: Sequence[Mark]
    exit_reason: str | None
    is_running: bool
    interrupted: Sequence[Begun]
    memory: Memory | None = None
    serving_s: float = 0.0

    @property
    def took_part(self) -> bool:
        """Whether it did more than import: compiled, or became ready."""
        did_more = bool(self.totals.intervals or self.interrupted)
        return did_more or self.ready_after_s is not None or not self.marks

    @property
    def last_ns(self) -> int:
        """When its last known activity ended, in nanoseconds since the epoch; 0 if unknown."""
        done = [mark.end_ns or mark.start_ns for mark in self.marks]
        done += [end for union in self.totals.intervals.values() for _, end in union.pairs()]
        done += [begun.start_ns + int(begun.elapsed_s * 1e9) for begun in self.interrupted]
        return max(done, default=0)

    @property
    def doer(self) -> Doer:
        """What the process did in its start."""
        return Doer(self.marks, self.totals.intervals, spans_of(self.interrupted, False))

    @classmethod
    def of(cls, snapshot: ProcessSnapshot) -> Summary:
        """Return the summary of a process whose journal was read."""
        return cls(
            snapshot.process,
            snapshot.totals,
            snapshot.ready_after_s,
            snapshot.marks,
            snapshot.exit_reason,
            snapshot.is_running,
            snapshot.interrupted,
            snapshot.memory,
            snapshot.totals.serving_s,
        )

    @classmethod
    def of_ledger(cls, ledger: CompileLedger, exit_reason: str | None = None) -> Summary:
        """Return the summary of this process."""
        totals = TotalsBuilder()
        ledger.add_totals_to(totals)
        readiness, is_running = ledger.readiness, exit_reason is None
        after_s, marks = readiness.after_s, readiness.marks
        if not is_running:  # what is in progress ends with the process
            marks = [mark._replace(end_ns=mark.end_ns or now_ns()) for mark in marks]
        return cls(
            *(who(ledger), totals, after_s, marks, exit_reason, is_running, ()),
            serving_s=totals.serving_s,
        )

    @classmethod
    def at_end_of(cls, path: Path) -> Summary | None:
        """Return the summary at the end of a journal; ``None`` if it does not end with one."""
        try:
            with open_to_read(path) as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
                lines = file.read(_TAIL_BYTES).splitlines()
        except OSError:
            return None
        for line in reversed(lines):
            with suppress(LineError):
                line_type, values = parsed(line)
                if line_type == LINE_TYPE:
                    return cls._of_line(values) if _is_named(path, values["process"]) else None
                if line_type == "reported":
                    continue
                return None
            if line:
                return None
        return None

    def line(self) -> dict[str, Any]:
        """Return the values of the journal's line."""
        return {
            "process": dict(self.process),
            "totals": self.totals.to_json(),
            "ready_after_s": self.ready_after_s,
            "marks": [
                mark._asdict()
                for mark in self.marks
                if mark.end_ns is None or mark.end_ns - mark.start_ns >= _SHOWN_NS
            ],
            "exit_reason": self.exit_reason,
            "interrupted": [dataclasses.asdict(begun) for begun in self.interrupted],
            "memory": self.memory._asdict() if self.memory is not None else None,
            "serving_s": self.serving_s,
            "graph_keys": list(self.totals.graph_keys),
            "cache": self.totals.cache_use.to_json(),
        }

    @classmethod
    def _of_line(cls, values: Mapping[str, Any]) -> Summary:
        totals = TotalsBuilder()
        totals.add_json(values["totals"])
        totals.graph_keys.update(dict.fromkeys(values.get("graph_keys") or ()))
        if values.get("cache"):
            totals.cache_use = CacheUse.of(values["cache"])
        fields = [field.name for field in dataclasses.fields(Begun)]
        return cls(
            values["process"],
            totals,
            values["ready_after_s"],
            tuple(map(Mark.of, values.get("marks") or ())),
            values["exit_reason"],
            False,
            tuple(Begun(*map(begun.get, fields)) for begun in values["interrupted"]),
            Memory.of(values["memory"]) if values.get("memory") is not None else None,
            values.get("serving_s") or 0.0,
        )


def _is_named(path: Path, process: Mapping[str, Any]) -> bool:
    name = JournalName.of(path)
    return name is not None and name.instance == in_file_name(process["instance"])


def who(ledger: CompileLedger) -> dict[str, Any]:
    """Return the values of a journal's first line, which identify this process."""
    versions = {"python": platform.python_version(), "compilespan": __version__}
    for package in ("torch", "vllm", "transformers"):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "format": FORMAT,
        "instance": instance_id(),
        "rank": os.environ.get("RANK"),
        "started_ns": ledger.readiness.since_ns,
        "versions": versions,
        "device": device(),
        **identity(),
    }
