"""What each of several servers has compiled: by its endpoints, or from journals."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from compilespan.journal.directory import StateDirectory
from compilespan.ledger.intervals import IntervalUnion
from compilespan.ledger.rows import TotalsRow
from compilespan.ledger.totals import TotalsBuilder
from compilespan_service.cli.fleet.addresses import asked, problem, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

ROWS = ("encoder", "language_model", "other", "total")
_COLUMNS: dict[str, Any] = asdict(TotalsRow())
_MAXIMA = ("longest_s",)
_CALL_S = 30.0
_MAX_RECORDS = 4096


@dataclass
class Replica:
    """One server, or one start in a state directory.

    Attributes:
        name: Its URL or its instance.
        rows: What it compiled, by component, and ``total``.
        intervals: When, by component.
        ready_after_s: Seconds of its start; ``None`` if it is not ready.
        complaint: Why it has no rows; ``None`` if it has.
    """

    name: str
    rows: dict[str, TotalsRow] = field(default_factory=dict)
    intervals: dict[str, IntervalUnion] = field(default_factory=dict)
    ready_after_s: float | None = None
    complaint: str | None = None

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "name": self.name,
            "ready_after_s": self.ready_after_s,
            "complaint": self.complaint,
            **{name: asdict(row) for name, row in self.rows.items()},
        }


async def of_servers(urls: Sequence[str], headers: Mapping[str, str]) -> list[Replica]:
    """Ask servers at the same time; who does not answer has a complaint."""
    async with httpx.AsyncClient(timeout=_CALL_S, headers=dict(headers)) as client:
        return list(await asyncio.gather(*(_of_server(client, url) for url in urls)))


async def _of_server(client: httpx.AsyncClient, url: str) -> Replica:
    replica = Replica(shown(url))
    try:
        answers = [
            await asked(client, "GET", f"{url}/totals"),
            await asked(client, "GET", f"{url}/compiles", params={"limit": _MAX_RECORDS}),
        ]
        for each in answers:
            if not each.is_success:
                replica.complaint = problem(each)
                return replica
        totals, records = (each.json() for each in answers)
        replica.rows = {name: _row(totals[name]) for name in ROWS}
        replica.ready_after_s = totals["ready_after_s"]
        for record in records:
            began = str(record["started_at"]).replace("Z", "+00:00")  # for Python 3.10
            start_ns = round(dt.datetime.fromisoformat(began).timestamp() * 1e9)
            union = replica.intervals.setdefault(str(record["component"]), IntervalUnion())
            union.add(start_ns, start_ns + round(float(record["duration_s"]) * 1e9))
    except httpx.HTTPError as error:
        replica.complaint = f"no answer: {str(error) or type(error).__name__}"
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        replica.complaint = f"it answers as no compilespan does: {type(error).__name__}: {error}"
    if replica.complaint is not None:
        replica.rows, replica.intervals = {}, {}
    return replica


def of_directory(directory: Path) -> list[Replica]:
    """Return the starts that a state directory knows, the oldest first."""
    builders: dict[str, TotalsBuilder] = {}
    ready: dict[str, float] = {}
    for process in StateDirectory(directory).processes():
        instance = str(process.process["instance"])
        builders.setdefault(instance, TotalsBuilder()).update(process.builder)
        if process.ready is not None:
            ready[instance] = max(ready.get(instance, 0.0), process.ready.after_s)
    found = []
    for instance, builder in builders.items():
        totals = builder.build()
        replica = Replica(instance, ready_after_s=ready.get(instance))
        replica.rows = {name: getattr(totals, name) for name in ROWS}
        for (_, component), union in builder.intervals.items():
            replica.intervals.setdefault(component, IntervalUnion()).update(union)
        found.append(replica)
    return found


def together(replicas: Iterable[Replica]) -> dict[str, TotalsRow]:
    """Return the rows of all: sums, the longest compile, and the union of their intervals."""
    found: dict[str, TotalsRow] = {}
    counted = [each for each in replicas if each.rows]
    for name in ROWS:
        values: dict[str, Any] = {}
        for column in _COLUMNS:
            ours = [getattr(each.rows[name], column) for each in counted]
            values[column] = max(ours, default=0.0) if column in _MAXIMA else sum(ours)
        union = IntervalUnion()
        for each in counted:
            for component, intervals in each.intervals.items():
                if name in (component, "total"):
                    union.update(intervals)
        values["wall_s"] = sum(end - start for start, end in union.pairs()) / 1e9
        found[name] = TotalsRow(**values)
    return found


def _row(values: Mapping[str, Any]) -> TotalsRow:
    read: dict[str, Any] = {
        column: type(default)(values[column]) for column, default in _COLUMNS.items()
    }
    return TotalsRow(**read)
