"""The output of ``compilespan serve``: progress, costs, and where to look next."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

from rich.live import Live
from rich.markup import escape
from rich.text import Text

from compilespan import get_ledger
from compilespan.findings.finders import findings
from compilespan.findings.finding import EagerItem, Evidence
from compilespan.ledger.totals import cache_state
from compilespan_service.reading.accounts import keys_of
from compilespan_service.reading.reader import reader_of
from compilespan_service.reporters.characters import text_width
from compilespan_service.reporters.findings import print_findings
from compilespan_service.reporters.tables import STYLES, cost_table, print_table
from compilespan_service.reporters.words import (
    STAGE_WORDS,
    START_WORDS,
    cache_line,
    duration,
    start_line,
    worded,
)
from compilespan_service.warmups.lifecycle import ProcessState
from compilespan_service.warmups.waiting import awaited_replica

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from rich.console import Console

    from compilespan_service.warmups.job import Job
    from compilespan_service.warmups.runner import Runner

_REFRESH_S = 0.25
_PLAIN_EVERY_S = 10.0
_READ_S = 0.5
"""Seconds to wait for earlier starts to be read; what takes longer is printed later."""


class Progress:
    """Shows the progress of the runner: live on a terminal, as lines elsewhere."""

    def __init__(
        self,
        console: Console,
        runner: Runner,
        address: str,
        directory: Path,
        over: threading.Event,
    ) -> None:
        self._console = console
        self._runner = runner
        self._address = address
        self._reader = reader_of(directory)
        self._over = over
        self._told: Job | str | None = None
        self._told_interrupted = False

    def follow(self) -> None:
        """Print the address, then the progress until the server ends; blocks."""
        self._console.print(Text.assemble(("compilespan", "bold"), f" on {self._address}"))
        self._reader.start()
        self._reader.refreshed(_READ_S, past=True)
        self._tell_interrupted()
        while not self._over.wait(_REFRESH_S):
            self._step()
        self._tell_news()

    def _step(self) -> None:
        self._tell_interrupted()
        state, job = self._runner.lifecycle.state, self._runner.jobs.current
        if state is ProcessState.LOADING:
            self._follow(self._loading_line, self._is_loading)
        elif job is not None and not job.is_over:
            self._follow(lambda: self._warming_line(job), lambda: not job.is_over)
        self._tell_news()

    def _tell_news(self) -> None:
        """Print the outcome of loading and of each job, once."""
        lifecycle, job = self._runner.lifecycle, self._runner.jobs.current
        if job is not None and job.is_over and job.planned is None:
            self._told = job  # its models cannot be loaded; the log says why
        elif job is not None and job.is_over and job is not self._told:
            self._told = job
            self._tell_cost(job)
        elif job is None and self._told is None and lifecycle.state is ProcessState.COLD:
            self._told = "cold"
            self._console.print(
                f"  loaded, cold. Warm it with: curl -X POST '{self._address}/warmup?wait=600'",
                soft_wrap=True,
            )

    def _is_loading(self) -> bool:
        return self._runner.lifecycle.state is ProcessState.LOADING

    def _follow(self, line: Callable[[], Text], going_on: Callable[[], bool]) -> None:
        """Show a line and update it while ``going_on()`` is true."""
        if not self._console.is_terminal:
            said_s = 0.0
            while going_on() and not self._over.wait(_REFRESH_S):
                if time.monotonic() - said_s >= _PLAIN_EVERY_S:
                    said_s = time.monotonic()
                    self._console.print(line().plain)
            return
        with Live(console=self._console, refresh_per_second=4, transient=True) as live:
            while going_on() and not self._over.wait(_REFRESH_S):
                live.update(line())

    def _loading_line(self) -> Text:
        age_s = time.time() - get_ledger().readiness.since_ns / 1e9
        return Text(f"  loading the models, {duration(age_s)}")

    def _warming_line(self, job: Job) -> Text:
        line = Text(f"  warming up, {duration(job.elapsed_s)}")
        planned = job.planned or []
        done = sum(item.state not in ("pending", "running") for _, item in planned)
        line.append(f" · {done} of {len(planned)} shapes run")
        if awaited := awaited_replica():
            line.append(f"\n    {awaited}")
        for begun in get_ledger().active.now():
            line.append("\n    ● ", style=STYLES[begun.component])
            line.append(
                f"{begun.name} ({worded(begun.component)}) "
                f"compiling for {duration(begun.elapsed_s)}"
            )
            if begun.stage is not None:
                line.append(f" ({STAGE_WORDS[begun.stage]})")
            if begun.graphs:
                line.append(f", {begun.graphs} graphs done")
        return line

    def _tell_cost(self, job: Job) -> None:
        totals = job.totals
        row = totals.total
        state = cache_state(get_ledger().totals().total, is_over=True)
        start = get_ledger().start()
        items = [item for _, item in job.planned or ()]
        ready_after_s = get_ledger().readiness.after_s
        if job.state == "succeeded" and ready_after_s is not None:
            mark = f"[green]●[/] ready after {duration(ready_after_s)}"
        else:
            mark = f"[red]✕[/] the warmup {job.state}, not ready"
        cached = f"{row.cache_hits} of {row.graphs} graphs came from the cache"
        self._console.print(f"{mark} · {START_WORDS[state]}: {cached}")
        made_of = start_line(start, text_width(self._console) - 2).replace("\n", "\n  ")
        self._console.print(Text(f"  {made_of}"), soft_wrap=True)
        if state == "warm" and (cold_s := self._last_cold_s()):
            self._console.print(f"  the last cold start compiled for {duration(cold_s)}")
        print_table(self._console, *cost_table(totals, self._console.width))
        if used := cache_line(get_ledger().totals().cache, text_width(self._console) - 2):
            self._console.print(Text("  " + used.replace("\n", "\n  ")), soft_wrap=True)
        for item in items:
            if not item.is_warm:
                self._console.print(
                    f"  [red]✕[/] {escape(f'{item.target} {item.label}')}: {item.state}"
                    + escape(f"; {item.error}" if item.error else ""),
                    soft_wrap=True,
                )
        eager = [EagerItem(i.target, i.label, i.error or "") for i in items if i.state == "eager"]
        earlier = keys_of(self._reader.snapshot.past)
        found = findings(Evidence(get_ledger().records(), start, eager=eager, earlier_keys=earlier))
        print_findings(self._console, found, "GET /findings lists all")
        self._console.print(
            f"  page     {self._address}/\n"
            f"  totals   {self._address}/totals\n"
            f"  job      {self._address}/warmup\n"
            f"  ready    {self._address}/readyz\n"
            f"  API      {self._address}/openapi.json\n"
            "  (Ctrl+C stops the server)",
            soft_wrap=True,
        )

    def _last_cold_s(self) -> float | None:
        """Return the compile seconds of the last start with a cache miss; ``None`` if unknown."""
        rows = (process.totals.build().total for process in self._reader.snapshot.past)
        return next((row.compile_s for row in rows if row.cache_misses), None)

    def _tell_interrupted(self) -> None:
        """Print once what the last start that died was compiling, as soon as it has been read."""
        if self._told_interrupted:
            return
        past = self._reader.snapshot.past
        found = ((process, begun) for process in past for begun in process.interrupted)
        for process, begun in itertools.islice(found, 1):
            self._told_interrupted = True
            self._console.print(
                f"[yellow]![/] an earlier start (process {process.process['pid']}) died "
                f"{duration(begun.elapsed_s)} into compiling {escape(begun.name)}, "
                f"with {begun.graphs} graphs done",
                soft_wrap=True,
            )
