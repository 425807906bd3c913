"""Exports each compile as soon as it ends: a process may end without a chance to flush.

A child process may end as soon as it has its result, by its own ``os._exit`` or by its parent. So
in a child the thread that compiled waits until its span is exported. All such waits of a process
sum to at most half a second: a collector that hangs or is slow costs telemetry and nothing else.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from compilespan.ledger.ledger import get_ledger
from compilespan.process import is_child, renewed_after_fork
from compilespan.telemetry.flushing import CHILD_FLUSH_S
from compilespan.telemetry.telemetry import active_telemetry

if TYPE_CHECKING:
    from compilespan.ledger.records import CompileRecord

LONGEST_WAIT_S = 0.5
"""Seconds that all threads of a child may wait in total."""


class PromptExport:
    """Flushes after each compile, in a separate thread."""

    def __init__(self) -> None:
        self.renew()
        renewed_after_fork(self)

    def renew(self) -> None:
        """Wait for nothing until `begin` is called in this process."""
        self._left_s = 0.0
        self._ended = self._exported = 0
        self._changed = threading.Condition()

    def begin(self) -> None:
        """Flush after each compile from now on."""
        self._left_s = LONGEST_WAIT_S if is_child() else 0.0
        get_ledger().subscribe(self._flush)

    def ended(self) -> int:
        """Record that the span of a compile ended, and return its number for `wait`."""
        if self._left_s <= 0:
            return 0
        with self._changed:
            self._ended += 1
            return self._ended

    def wait(self, number: int) -> None:
        """Wait until the span is exported, if this process may be ended at any moment.

        Args:
            number: From `ended`; 0 waits for nothing.

        Raises:
            Exception: Raised by a signal handler of the program: the wait is not contained.
        """
        if number == 0 or self._left_s <= 0:
            return
        began = time.perf_counter()
        with self._changed:
            try:
                self._changed.wait_for(lambda: self._exported >= number, max(self._left_s, 0.0))
            finally:
                self._left_s -= time.perf_counter() - began

    def _flush(self, _: CompileRecord) -> None:
        with self._changed:
            number = self._ended
        if self._exported < number or number == 0 or self._left_s <= 0:
            active_telemetry().flush(CHILD_FLUSH_S)  # exports all spans that ended before
        with self._changed:
            self._exported = max(self._exported, number)
            self._changed.notify_all()


prompt_export = PromptExport()


def flush_each_compile() -> None:
    """Export each compile of this process as soon as it ends."""
    prompt_export.begin()
