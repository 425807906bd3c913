"""Exports each compile as soon as it ended: a process may end without a chance to flush.

A child may be ended the moment its result is there, by its own ``os._exit`` or by its parent, so
there the thread that compiled waits until its span has left. All such waits of a process add up to
half a second at most: a collector that hangs or is slow costs telemetry and nothing else.
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
"""What the threads of a child wait altogether."""


class PromptExport:
    """Flushes after each compile, in a thread of its own."""

    def __init__(self) -> None:
        self.renew()
        renewed_after_fork(self)

    def renew(self) -> None:
        """Wait for nobody, until `begin` is called in this process."""
        self._left_s = 0.0
        self._ended = self._exported = 0
        self._changed = threading.Condition()

    def begin(self) -> None:
        """Flush after each compile from now on."""
        self._left_s = LONGEST_WAIT_S if is_child() else 0.0
        get_ledger().subscribe(self._flush)

    def ended(self) -> int:
        """Note that the span of a compile ended; returns what `wait` takes."""
        if self._left_s <= 0:
            return 0
        with self._changed:
            self._ended += 1
            return self._ended

    def wait(self, number: int) -> None:
        """Return when the span is exported, if somebody may end this process now.

        Args:
            number: From `ended`; 0 waits for nothing.

        Raises:
            Exception: Of a signal handler of the program: the wait is not contained.
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
            active_telemetry().flush(CHILD_FLUSH_S)  # all that ended before it began
        with self._changed:
            self._exported = max(self._exported, number)
            self._changed.notify_all()


prompt_export = PromptExport()


def flush_each_compile() -> None:
    """Export each compile of this process as soon as it ended."""
    prompt_export.begin()
