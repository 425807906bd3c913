"""Records added up: in rows by component, phase, name and process, and by stage."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from typing import TYPE_CHECKING, Any, get_args

from compilespan import semconv
from compilespan.ledger.rows import Row, TotalsRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compilespan.ledger.records import CompileRecord
    from compilespan.semconv import Stage


@dataclasses.dataclass(frozen=True, slots=True)
class CompileTotals:
    """What compiling cost, by component, phase, name and process.

    ``encoder`` + ``language_model`` + ``other`` = ``total`` in every column but ``wall_s`` (a
    union) and ``longest_s`` (a maximum). ``by_stage`` has the seconds of each stage of what is in
    ``compile_s`` and ``failed_s``, and sums to these.
    """

    encoder: TotalsRow
    language_model: TotalsRow
    other: TotalsRow
    total: TotalsRow
    by_phase: Mapping[str, TotalsRow]
    by_name: Mapping[str, TotalsRow]
    by_process: Mapping[str, TotalsRow]
    by_stage: Mapping[Stage, float]


class TotalsBuilder:
    """Adds records up, and other builders' sums (those of other processes)."""

    def __init__(self) -> None:
        self._components = {component: Row() for component in get_args(semconv.Component)}
        self._total = Row()
        self._by_phase: defaultdict[str, Row] = defaultdict(Row)
        self._by_name: defaultdict[str, Row] = defaultdict(Row)
        self._by_process: defaultdict[str, Row] = defaultdict(Row)
        self._by_stage: defaultdict[Stage, int] = defaultdict(int)

    def add(self, record: CompileRecord) -> None:
        """Add one record to each row that it belongs to."""
        for row in (
            self._components[record.component],
            self._total,
            self._by_phase[record.phase],
            self._by_name[self._name(record.name)],
            self._by_process[str(record.pid)],
        ):
            row.add(record)
        if record.is_work:
            for stage, spent_ns in record.stages_ns.items():
                self._by_stage[stage] += spent_ns

    def update(self, other: TotalsBuilder) -> None:
        """Add the sums of another builder."""
        self._total.update(other._total)
        for component, row in other._components.items():
            self._components[component].update(row)
        for mine, theirs in (
            (self._by_phase, other._by_phase),
            (self._by_process, other._by_process),
        ):
            for key, row in theirs.items():
                mine[key].update(row)
        for stage, spent_ns in other._by_stage.items():
            self._by_stage[stage] += spent_ns
        for name, row in other._by_name.items():
            self._by_name[self._name(name)].update(row)

    def copy(self) -> TotalsBuilder:
        """Return another with the same sums."""
        copied = TotalsBuilder()
        copied._total = self._total.copy()
        for mine, theirs in (
            (self._components, copied._components),
            (self._by_phase, copied._by_phase),
            (self._by_name, copied._by_name),
            (self._by_process, copied._by_process),
        ):
            theirs.update({key: row.copy() for key, row in mine.items()})
        copied._by_stage.update(self._by_stage)
        return copied

    def to_json(self) -> dict[str, Any]:
        """Return the components' sums as JSON values; short gaps of many intervals are closed."""
        return {component: row.to_json() for component, row in self._components.items()}

    def add_json(self, values: Mapping[str, Any]) -> None:
        """Add what `to_json` returned, to the components and to the total."""
        for component, row in self._components.items():
            row.add_json(values[component])
            self._total.add_json(values[component])

    def build(self) -> CompileTotals:
        """Return the sums as they stand now."""
        return CompileTotals(
            **{component: row.freeze() for component, row in self._components.items()},
            total=self._total.freeze(),
            by_phase={key: row.freeze() for key, row in self._by_phase.items()},
            by_name={key: row.freeze() for key, row in self._by_name.items()},
            by_process={key: row.freeze() for key, row in self._by_process.items()},
            by_stage={
                stage: self._by_stage[stage] / 1e9
                for stage in get_args(semconv.Stage)
                if self._by_stage.get(stage)
            },
        )

    def _name(self, name: str) -> str:
        return semconv.bounded(name, self._by_name)
