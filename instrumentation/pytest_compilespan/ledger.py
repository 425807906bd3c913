"""What torch compiles in one test, and what the test expects of it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from compilespan import TorchCompileInstrumentor, get_ledger
from compilespan.ledger.totals import TotalsBuilder
from pytest_compilespan.words import explained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compilespan import CompileRecord, CompileTotals


class TestLedger:
    """The compiles since it was made, in all threads of this process."""

    __test__ = False

    def __init__(self) -> None:
        """Record compiles from now on, if nobody does yet."""
        self._instrumentor = TorchCompileInstrumentor()
        self._is_ours = not self._instrumentor.is_instrumented_by_opentelemetry
        if self._is_ours:
            self._instrumentor.instrument(skip_dep_check=True)
        self._before = _latest()

    def close(self) -> None:
        """Record no longer, if nobody else does."""
        if self._is_ours:
            self._instrumentor.uninstrument()

    @property
    def records(self) -> tuple[CompileRecord, ...]:
        """The records since the test began, oldest first; at most the latest 4096."""
        return _since(self._before)

    @property
    def totals(self) -> CompileTotals:
        """Their sums."""
        return _totals(self.records)

    @contextmanager
    def expect(
        self,
        *,
        compiles: int | None = None,
        graph_breaks: int | None = None,
        recompiles: int | None = None,
        max_seconds: float | None = None,
    ) -> Iterator[None]:
        """Fail the test unless exactly this is compiled in the block.

        Nothing is checked if the block raises. What is ``None`` is not checked.

        Args:
            compiles: Number of compiles, recompiles and failed ones included.
            graph_breaks: Number of graph breaks in them.
            recompiles: Number of these that compile a frame again for the same owner.
            max_seconds: Seconds of compiling at most.
        """
        __tracebackhide__ = True
        before = _latest()
        yield
        records = _since(before)
        row = _totals(records).total
        found = {
            "compiles": row.compiles + row.failed,
            "graph_breaks": sum(len(each.graph_breaks) for each in records),
            "recompiles": row.recompiles,
        }
        wanted = {"compiles": compiles, "graph_breaks": graph_breaks, "recompiles": recompiles}
        wrong = [
            f"{name.replace('_', ' ')}: expected {count}, got {found[name]}"
            for name, count in wanted.items()
            if count is not None and count != found[name]
        ]
        spent_s = row.compile_s + row.failed_s
        if max_seconds is not None and spent_s > max_seconds:
            wrong.append(f"seconds: at most {max_seconds:g} expected, got {spent_s:.2f}")
        if any(count is not None and count > found[name] for name, count in wanted.items()):
            wrong.append(
                "what was compiled before in this process, also by a wrapper that is gone, is not "
                "compiled again: call torch._dynamo.reset() first"
            )
        if wrong:
            pytest.fail(explained(wrong, records), pytrace=False)

    def sums(self) -> dict[str, float]:
        """Return the numbers of the session's table, as JSON."""
        records = self.records
        row = _totals(records).total
        return {
            "compiles": row.compiles + row.failed,
            "recompiles": row.recompiles,
            "graph_breaks": sum(len(each.graph_breaks) for each in records),
            "cache_hits": row.cache_hits,
            "seconds": row.compile_s + row.failed_s,
        }


def _latest() -> CompileRecord | None:
    records = get_ledger().records()
    return records[-1] if records else None


def _since(before: CompileRecord | None) -> tuple[CompileRecord, ...]:
    """Return the records after one; all of them if it is not kept any more."""
    records = get_ledger().records()
    for number in range(len(records) - 1, -1, -1):
        if records[number] is before:
            return records[number + 1 :]
    return records


def _totals(records: tuple[CompileRecord, ...]) -> CompileTotals:
    builder = TotalsBuilder()
    for each in records:
        builder.add(each)
    return builder.build()
