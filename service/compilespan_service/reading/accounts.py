"""Totals over HTTP: from this process's ledger and the journals of its instance's others."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import time
from typing import TYPE_CHECKING, Literal

from compilespan import get_ledger
from compilespan.findings.finders import findings
from compilespan.findings.finding import Evidence
from compilespan.ledger.totals import TotalsBuilder
from compilespan.process import instance_id
from compilespan.process.limits import Throttled
from compilespan_service import schemas
from compilespan_service.reporters.perfetto import TracedProcess

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from compilespan.findings.finding import EagerItem, Finding
    from compilespan.journal.snapshot import ProcessSnapshot
    from compilespan.journal.summary import Summary
    from compilespan.ledger.start import Start
    from compilespan_service.reading.instance import Instance


def keys_of(processes: Iterable[Summary]) -> set[str]:
    """Return the keys of all graphs that these processes left in caches."""
    return {key for process in processes for key in process.totals.graph_keys}


class Accounts:
    """Reads what compiling cost, across the processes of an instance."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._throttled = Throttled()

    def totals(self, scope: Literal["instance", "process"]) -> schemas.Totals:
        """Return the totals of this process, or of all processes of this start."""
        if scope == "process":
            start, ready_after_s = get_ledger().start(), get_ledger().readiness.after_s
            return self._totals(scope, [], start, ready_after_s, complete=True)
        instance = self._instance
        complete = instance.refresh() and instance.is_complete
        others, start, ready_after_s = instance.others, instance.startup, instance.ready_after_s
        return self._totals(scope, others, start, ready_after_s, complete=complete)

    def _totals(
        self,
        scope: Literal["instance", "process"],
        others: Sequence[ProcessSnapshot],
        start: Start,
        ready_after_s: float | None,
        *,
        complete: bool,
    ) -> schemas.Totals:
        ledger = get_ledger()
        builder = TotalsBuilder()
        ledger.add_totals_to(builder)
        for other in others:
            builder.update(other.totals)
        now_s = time.time()
        since_ns = min(
            [ledger.readiness.since_ns, *(int(other.process["started_ns"]) for other in others)]
        )
        totals = builder.build()
        return schemas.Totals(
            scope=schemas.Scope(
                kind=scope,
                instance=instance_id(),
                processes=1 + sum(other.took_part for other in others),
                complete=complete,
            ),
            since=schemas.moment(since_ns),
            as_of=dt.datetime.fromtimestamp(now_s, dt.timezone.utc),
            ready_after_s=ready_after_s,
            versions=versions(),
            in_progress=_in_progress(others, now_s),
            encoder=totals.encoder,
            language_model=totals.language_model,
            other=totals.other,
            total=totals.total,
            by_phase=dict(totals.by_phase),
            by_name=dict(totals.by_name),
            by_process=dict(totals.by_process),
            by_stage=dict(totals.by_stage),
            start=dict(start.parts_s),
            cache=totals.cache,
        )

    def compiles(self, wanted: Mapping[str, object], limit: int) -> list[schemas.Compile]:
        """Return the records of this start whose fields equal ``wanted``, newest first."""
        self._instance.refresh()
        records = list(get_ledger().records())
        for other in self._instance.others:
            records += other.records
        found = sorted(
            (
                record
                for record in records
                if all(getattr(record, field) == value for field, value in wanted.items())
            ),
            key=lambda record: record.start_ns,
            reverse=True,
        )
        return [schemas.Compile.of(record) for record in found[:limit]]

    def findings(self, eager: Sequence[EagerItem]) -> list[Finding]:
        """Return the findings of this start, including the ``eager`` items of a warmup."""
        self._instance.refresh()
        records = list(get_ledger().records())
        for other in self._instance.others:
            records += other.records
        start, throttled_s = self._instance.startup, self._throttled.spent_s
        return findings(
            Evidence(
                records,
                start,
                throttled_s=throttled_s,
                eager=eager,
                earlier_keys=keys_of(self._instance.snapshot.past),
            )
        )

    def traced(self) -> list[TracedProcess]:
        """Return what each process of this start compiled, for a trace."""
        self._instance.refresh()
        ledger = get_ledger()
        own = TracedProcess(os.getpid(), ledger.records(), ledger.active.now())
        others = (
            TracedProcess(other.process["pid"], other.records, other.in_progress)
            for other in self._instance.others
        )
        return [own, *others]


def _in_progress(others: Sequence[ProcessSnapshot], now_s: float) -> list[schemas.InProgress]:
    """Return the running compiles; ages of other processes' compiles use the wall clock."""
    ages_s = [(begun, begun.elapsed_s) for begun in get_ledger().active.now()] + [
        (begun, max(0.0, now_s - begun.start_ns / 1e9))
        for other in others
        if other.is_running
        for begun in other.in_progress
    ]
    return [
        schemas.InProgress(
            name=begun.name,
            is_encoder=begun.is_encoder,
            component=begun.component,
            started_at=schemas.moment(begun.start_ns),
            elapsed_s=age_s,
            graphs=begun.graphs,
            stage=begun.stage,
        )
        for begun, age_s in ages_s
    ]


def versions() -> dict[str, str]:
    """Return the versions that a compile depends on."""
    found = {"python": platform.python_version()}
    for package in ("compilespan", "torch", "transformers", "vllm"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
