"""What a program compiled, read from the journals of all its processes."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.text import Text

from compilespan.journal.directory import StateDirectory
from compilespan.ledger.start import Start
from compilespan.ledger.totals import TotalsBuilder
from compilespan.reasons import guard, limit_advice
from compilespan_service.cli.tables import (
    STAGE_WORDS,
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
    from compilespan.journal.reader import ProcessJournal
    from compilespan.journal.snapshot import Begun
    from compilespan.ledger.records import GraphBreak

_MAX_LINES = 12


class Report:
    """Reads a state directory again and again; each file only once."""

    def __init__(self, state: Path, instance: str) -> None:
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
        line = f" compilespan: {oldest.name} ({kind}) compiling for {duration(_age_s(oldest))}"
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
            return
        totals = self._builder(processes).build()
        console.print(
            Text.assemble(
                ("compilespan", "bold"),
                f" · {_count(len(processes), 'process', 'processes')} · ran {duration(wall_s)}, "
                f"of that compiling {duration(totals.total.wall_s)}",
            )
        )
        console.print(Text(start_line(self._start(processes, wall_s))))
        components = {record.name: record.component for record in records}
        console.print(name_table(totals, components))
        if totals.by_stage:
            console.print(Text(stage_line(totals)))
        self._print_notes(console, records)
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
            "start": self._start(processes, wall_s).parts_s if processes else {},
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

    def _start(self, processes: list[ProcessJournal], wall_s: float) -> Start:
        """Return what the program's start was made of: until it was ready, else until now."""
        first = min(int(process.process["started_ns"]) for process in processes)
        ready = [
            int(process.process["started_ns"]) + round(process.ready_after_s * 1e9)
            for process in processes
            if process.ready_after_s is not None
        ]
        end_ns = min(ready) if ready else first + int(wall_s * 1e9)
        return Start.of(first, end_ns, (process.doer for process in processes))

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

    def _print_notes(self, console: Console, records: list[CompileRecord]) -> None:
        notes = Counter[str]()
        for record in records:
            if record.is_recompile:
                reason = guard(record.recompile_reason or "")
                under = f" under {escape(record.request)}" if record.request else ""
                notes[
                    f"[bold]↻[/] {escape(record.name)} compiled again{under}: {escape(reason)}"
                ] += 1
            if record.recompile_limit_hit:
                advised = limit_advice(record.recompile_reason)
                notes[f"[red]✕[/] {escape(record.name)}: {escape(advised)}"] += 1
            for broken in record.graph_breaks:
                notes[_break_note(broken, skipped=record.outcome == "skipped")] += 1
            if record.skip_reason and not record.graph_breaks and not record.recompile_limit_hit:
                where = f" at {record.file}:{record.line}" if record.file else ""
                notes[
                    f"[bold]○[/] {escape(record.name)} runs eager{escape(where)}: "
                    f"{escape(record.skip_reason)}"
                ] += 1
            if record.outcome == "failed":
                notes[f"[red]✕[/] {escape(record.name)} failed: {record.error_type}"] += 1
        for note, times in notes.most_common(_MAX_LINES):
            console.print(note + (f" (×{times})" if times > 1 else ""), soft_wrap=True)
        if (more := len(notes) - _MAX_LINES) > 0:
            console.print(f"  and {more} more; --json FILE has all")


def _records(processes: list[ProcessJournal]) -> list[CompileRecord]:
    return sorted(
        (record for process in processes for record in process.records),
        key=lambda record: record.start_ns,
    )


def _break_note(broken: GraphBreak, *, skipped: bool) -> str:
    what = "[bold]○[/] no graph because of" if skipped else "[bold]▾[/] graph break at"
    note = f"{what} {escape(f'{broken.file}:{broken.line}')}: {escape(broken.reason)}"
    if broken.hint:
        note += f" {escape(broken.hint)}"
    return note + (f" {escape(broken.link)}" if broken.link else "")


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
