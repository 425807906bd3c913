"""What a program compiled, read from the journals of all its processes."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.text import Text

from compilespan.findings.finders import findings
from compilespan.findings.finding import Evidence
from compilespan.journal.directory import StateDirectory
from compilespan.ledger.start import Start
from compilespan.ledger.totals import TotalsBuilder, cache_state
from compilespan_service.cli.findings import print_findings, printable
from compilespan_service.cli.tables import (
    STAGE_WORDS,
    START_WORDS,
    duration,
    name_table,
    stage_line,
    start_line,
    worded,
)
from compilespan_service.reading.perfetto import TracedProcess, trace

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from compilespan import CompileRecord
    from compilespan.findings.finding import Finding
    from compilespan.journal.reader import ProcessJournal
    from compilespan.journal.snapshot import Begun


class Report:
    """Reads a state directory again and again; each file only once."""

    def __init__(self, state: Path, instance: str, began_ns: int) -> None:
        """Take where the program's processes write.

        Args:
            state: The directory.
            instance: They are all of this one.
            began_ns: When the program was started, in nanoseconds since the epoch.
        """
        self._began_ns = began_ns
        self._state = state
        self._instance = instance
        self._directory = StateDirectory(state)

    def status(self) -> str | None:
        """Return one line about what compiles now; ``None`` when nothing does."""
        active = [
            begun
            for process in self._processes()
            if process.exit_reason is None
            for begun in process.in_progress
        ]
        if not active:
            return None
        oldest = min(active, key=lambda begun: begun.start_ns)
        kind = worded(oldest.component)
        name = printable(oldest.name)
        line = f" compilespan: {name} ({kind}) compiling for {duration(_age_s(oldest))}"
        if oldest.stage is not None:
            line += f" ({STAGE_WORDS[oldest.stage]})"
        if oldest.graphs:
            line += f", {oldest.graphs} graphs through"
        if len(active) > 1:
            line += f", and {len(active) - 1} more"
        return line

    def print(self, console: Console, wall_s: float) -> None:
        """Print the table, and what a reader should know besides."""
        processes = self._processes()
        records = _records(processes)
        cut_off = self._interrupted(processes)
        if not records and not cut_off:
            console.print(self._nothing(), soft_wrap=True)
            print_findings(console, self._findings(processes, wall_s), "--json FILE has all")
            return
        totals = self._builder(processes).build()
        compiled = len({record.pid for record in records} | {p.process["pid"] for p, _ in cut_off})
        console.print(
            Text.assemble(
                ("compilespan", "bold"),
                f" · {_count(compiled, 'process', 'processes')} · ran {duration(wall_s)}, "
                f"of that compiling {duration(totals.total.wall_s)} · "
                f"{START_WORDS[cache_state(totals.total, is_over=True)]}",
            )
        )
        console.print(Text(start_line(self._start(processes, wall_s))))
        components = {record.name: record.component for record in records}
        console.print(name_table(totals, components))
        if totals.by_stage:
            console.print(Text(stage_line(totals)))
        print_findings(console, self._findings(processes, wall_s), "--json FILE has all")
        self._print_left_out(console, processes)
        for process, begun in cut_off:
            doing = f" ({STAGE_WORDS[begun.stage]})" if begun.stage is not None else ""
            console.print(
                f"[red]✕[/] {escape(begun.name)} was still compiling{doing} when process "
                f"{process.process['pid']} died: for {duration(begun.elapsed_s)}, "
                f"{_count(begun.graphs, 'graph', 'graphs')} through{_memory(process)}",
                soft_wrap=True,
            )

    def json(self, exit_code: int, wall_s: float) -> str:
        """Return all figures as JSON."""
        processes = self._processes()
        figures: dict[str, Any] = {
            "exit_code": exit_code,
            "wall_s": wall_s,
            "totals": dataclasses.asdict(self._builder(processes).build()),
            "cache": cache_state(self._builder(processes).build().total, is_over=True),
            "start": self._start(processes, wall_s).parts_s if processes else {},
            "findings": [
                dataclasses.asdict(finding) for finding in self._findings(processes, wall_s)
            ],
            "compiles": [
                {**record.to_json(), "duration_s": record.duration_s}
                for record in _records(processes)
            ],
            "interrupted": [
                {**dataclasses.asdict(begun), "pid": process.process["pid"]}
                for process, begun in self._interrupted(processes)
            ],
        }
        return json.dumps(figures, indent=1) + "\n"

    def trace(self) -> str:
        """Return a trace in Chrome's JSON format, which Perfetto opens."""
        traced = (
            TracedProcess(process.process["pid"], process.records, process.in_progress)
            for process in self._processes()
        )
        return json.dumps(trace(traced)) + "\n"

    def _processes(self) -> list[ProcessJournal]:
        return self._directory.processes(self._instance)

    def _findings(self, processes: list[ProcessJournal], wall_s: float) -> list[Finding]:
        start = self._start(processes, wall_s) if processes else None
        return findings(Evidence(_records(processes), start))

    def _print_left_out(self, console: Console, processes: list[ProcessJournal]) -> None:
        left_out = sum(process.record_count - len(process.records) for process in processes)
        if left_out > 0:
            console.print(f"  {left_out} earlier compiles are in the table, and in no finding")

    def _start(self, processes: list[ProcessJournal], wall_s: float) -> Start:
        """Return what the program's start was made of: until it was ready, else until now."""
        ready = [
            int(process.process["started_ns"]) + round(process.ready_after_s * 1e9)
            for process in processes
            if process.ready_after_s is not None
        ]
        end_ns = min(ready) if ready else self._began_ns + int(wall_s * 1e9)
        return Start.of(self._began_ns, end_ns, (process.doer for process in processes))

    def _builder(self, processes: list[ProcessJournal]) -> TotalsBuilder:
        builder = TotalsBuilder()
        for process in processes:
            builder.update(process.builder)
        return builder

    def _interrupted(self, processes: list[ProcessJournal]) -> list[tuple[ProcessJournal, Begun]]:
        return [
            (process, begun)
            for process in processes
            if not process.is_running
            for begun in process.in_progress
        ]

    def _nothing(self) -> str:
        seen = [path.read_text("utf-8") for path in sorted(self._state.glob("seen-*"))]
        for line in seen:
            if line.startswith("missing:"):
                return (
                    "[yellow]![/] compilespan: torch ran in a Python without compilespan "
                    f"({escape(line.removeprefix('missing:'))}); install it there: "
                    "pip install compilespan"
                )
        if seen:
            return "compilespan: torch compiled nothing"
        return (
            "compilespan: saw no process import torch, so nothing was compiled "
            "(Python's -I, -E and -S keep it from looking)"
        )


def _records(processes: list[ProcessJournal]) -> list[CompileRecord]:
    return sorted(
        (record for process in processes for record in process.records),
        key=lambda record: record.start_ns,
    )


def _memory(process: ProcessJournal) -> str:
    if process.memory is None:
        return ""
    limit = process.memory.limit_bytes
    of = f" of {limit / 1e9:.1f}" if limit is not None else ""
    return f"; it and its children had {process.memory.peak_bytes / 1e9:.1f}{of} GB of memory"


def _age_s(begun: Begun) -> float:
    return max(0.0, time.time() - begun.start_ns / 1e9)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
