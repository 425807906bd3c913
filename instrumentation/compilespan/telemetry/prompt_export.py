"""Exports each compile as soon as it ended: a process may end without a chance to flush.

A child may be ended the moment its result is there, by its own ``os._exit`` or by its parent, so
there the thread that compiled waits until its span has left. It waits for a moment at most, and
never again once that did not suffice: a collector that hangs costs telemetry and nothing else.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from compilespan.ledger.ledger import get_ledger
from compilespan.process import is_child, renewed_after_fork
from compilespan.telemetry.flushing import CHILD_FLUSH_S
from compilespan.telemetry.telemetry import active_telemetry

if TYPE_CHECKING:
    from compilespan.ledger.records import CompileRecord

LONGEST_WAIT_S = 0.5


class PromptExport:
    """Flushes after each compile, in a thread of its own."""

    def __init__(self) -> None:
        self.renew()
        renewed_after_fork(self)

    def renew(self) -> None:
        """Wait for nobody, until `begin` is called in this process."""
        self._waits = False
        self._exported: set[int] = set()
        self._changed = threading.Condition()

    def begin(self) -> None:
        """Flush after each compile from now on."""
        self._waits = is_child()
        get_ledger().subscribe(self._flush)

    def wait(self, record: CompileRecord) -> None:
        """Return when this record's span was exported, if somebody may end this process now."""
        if not self._waits:
            return
        key = id(record)
        with self._changed:
            if not self._changed.wait_for(lambda: key in self._exported, LONGEST_WAIT_S):
                self._waits = False
            self._exported.discard(key)

    def _flush(self, record: CompileRecord) -> None:
        active_telemetry().flush(CHILD_FLUSH_S)
        if self._waits:
            with self._changed:
                self._exported.add(id(record))
                self._changed.notify_all()


prompt_export = PromptExport()


def flush_each_compile() -> None:
    """Export each compile of this process as soon as it ended."""
    prompt_export.begin()
