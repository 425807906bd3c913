"""What compiled in the calls of a warmup, item by item."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from compilespan.findings.finders import findings
from compilespan.findings.finding import EagerItem, Evidence
from compilespan.ledger.ledger import MAX_RECORDS
from compilespan.ledger.totals import CompileTotals, TotalsBuilder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from compilespan.findings.finding import Finding
    from compilespan.ledger.active import CompileBegun
    from compilespan.ledger.records import CompileEvent, CompileRecord
    from compilespan.monitor.surroundings import Listener
    from compilespan.warmup.plan import WarmupItem


class Compiled:
    """What compiled in one call.

    Attributes:
        records: Records of the compiles, loads, captures and kernels.
        adopted: Number of compiles that became events of a block around the warmup.
    """

    def __init__(self) -> None:
        self.records: list[CompileRecord] = []
        self.adopted = 0

    def __bool__(self) -> bool:
        """Whether anything compiled."""
        return bool(self.records or self.adopted)

    @property
    def is_graphless(self) -> bool:
        """Whether something compiled and all of it was skipped or failed; kernels do not count."""
        found = [record for record in self.records if record.kind != "kernel"]
        return bool(found) and all(record.outcome != "ok" for record in found)


class Account:
    """Attributes the compiles in a warmup's surroundings to the running item; passes them on.

    A task that an earlier call started, such as a batching loop, compiles for the item that waits
    for it, which is the running one.
    """

    def __init__(self, listener: Listener | None) -> None:
        self._listener = listener
        self._builder = TotalsBuilder()
        self._records: deque[CompileRecord] = deque(maxlen=MAX_RECORDS)
        self._item: WarmupItem | None = None
        self._compiled = Compiled()
        self._limits: dict[int, str | None] = {}
        self._skipped: dict[int, list[CompileRecord]] = {}

    @property
    def totals(self) -> CompileTotals:
        """What all compiles cost so far."""
        return self._builder.build()

    def findings(self, items: Iterable[WarmupItem]) -> tuple[Finding, ...]:
        """Return the findings of this warmup, including the items that run eager."""
        eager = [
            EagerItem(item.target, item.label, item.error or "")
            for item in items
            if item.state == "eager"
        ]
        return tuple(findings(Evidence(tuple(self._records), eager=eager)))

    @contextmanager
    def of(self, item: WarmupItem) -> Iterator[Compiled]:
        """Attribute compiles to ``item`` during a block; yield what compiles in it."""
        compiled = Compiled()
        self._item, self._compiled = item, compiled
        yield compiled
        self._item = None

    def limit_reason(self, item: WarmupItem) -> str | None:
        """Return the guard at which an item hit the recompile limit, if it did."""
        return self._limits.get(id(item))

    def skipped(self, item: WarmupItem) -> list[CompileRecord]:
        """Return the last compile that Dynamo gave back to eager in an item's calls, if any."""
        return self._skipped.get(id(item), [])

    def begun(self, begun: CompileBegun) -> None:
        """Pass on that a compile began."""
        if self._listener is not None:
            self._listener.begun(begun)

    def happened(self, key: int, event: CompileEvent) -> None:
        """Pass on an event of a compile."""
        if self._listener is not None:
            self._listener.happened(key, event)

    def adopted(self) -> None:
        """Count a compile that became an event of a block around the warmup."""
        self._compiled.adopted += 1

    def ended(self, key: int, record: CompileRecord) -> None:
        """Account for a compile, and pass it on."""
        self._builder.add(record)
        self._records.append(record)
        if self._item is not None:
            self._item.take(record)
            if record.recompile_limit_hit:
                self._limits[id(self._item)] = record.recompile_reason
            if record.skip_reason:
                self._skipped[id(self._item)] = [record]
        if record.kind != "empty":
            self._compiled.records.append(record)
        if self._listener is not None:
            self._listener.ended(key, record)
