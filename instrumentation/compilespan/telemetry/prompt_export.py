"""Exports compiles soon after they end: a process may end without a chance to flush.

Batches of the SDK wait for seconds, its metrics for a minute. A process may be killed before, or
end by ``os._exit``. So a thread flushes as soon as nothing compiles any more.

A child process may end as soon as it has its result, by its own ``os._exit`` or by its parent. So
in a child the thread that compiled waits until its span is exported. All such waits of a process
sum to at most half a second: a collector that hangs or is slow costs telemetry and nothing else.
A server may be stopped as soon as it is warm. So `compilespan.warm` ends with such a wait, too, in
total half a second per process.
"""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import TypeAlias

from compilespan.ledger.ledger import get_ledger
from compilespan.process import is_child, renewed_after_fork
from compilespan.process.faults import contained
from compilespan.telemetry.flushing import CHILD_FLUSH_S
from compilespan.telemetry.telemetry import active_telemetry

LONGEST_WAIT_S = 0.5
"""Seconds that all threads of a child may wait in total, and that all calls of `finish` may."""
QUIET_S = 0.2
"""Seconds without a compile after which a flush begins, so that many short ones share it."""
LONGEST_DELAY_S = 5.0
"""Seconds after which a flush begins even if something compiles."""


Ticket: TypeAlias = "SimpleQueue[None]"
"""Gets an item when a compile is exported."""


class PromptExport:
    """Flushes in a separate thread after compiles ended.

    Compiling threads use queues written in C only: an interrupt in a Python function could leave a
    lock taken.
    """

    def __init__(self) -> None:
        self.renew()
        renewed_after_fork(self)

    def renew(self) -> None:
        """Export and wait for nothing until `begin` is called in this process."""
        self._is_begun = False
        self._left_s = 0.0
        self._left_to_finish_s = LONGEST_WAIT_S
        self._is_pending = False
        self._ended: SimpleQueue[Ticket | None] = SimpleQueue()

    def begin(self) -> None:
        """Flush after compiles from now on."""
        if self._is_begun:
            return
        self._left_s = LONGEST_WAIT_S if is_child() else 0.0
        threading.Thread(target=self._run, name="compilespan-export", daemon=True).start()
        self._is_begun = True  # not if the thread could not be started

    def ended(self) -> Ticket | None:
        """Record that a compile was measured and its span ended; return a ticket for `wait`."""
        if not self._is_begun:
            return None
        self._is_pending = True
        ticket: Ticket | None = SimpleQueue() if self._left_s > 0 else None
        self._ended.put(ticket)
        return ticket

    def wait(self, ticket: Ticket | None) -> None:
        """Wait until the span is exported, if this process may be ended at any moment.

        Args:
            ticket: From `ended`; ``None`` waits for nothing.

        Raises:
            Exception: Raised by a signal handler of the program: the wait is not contained.
        """
        left_s = self._left_s  # other threads wait, too
        if ticket is None or left_s <= 0:
            return
        began = time.perf_counter()
        try:
            ticket.get(timeout=left_s)
        except Empty:
            pass
        finally:
            self._left_s -= time.perf_counter() - began

    def finish(self) -> None:
        """Export now what has ended, and wait for that; half a second in all calls together."""
        if self._is_pending and self._left_to_finish_s > 0:
            ticket: Ticket = SimpleQueue()
            self._ended.put(ticket)
            began = time.perf_counter()
            try:
                ticket.get(timeout=self._left_to_finish_s)
            except Empty:
                pass
            finally:
                self._left_to_finish_s -= time.perf_counter() - began

    def _run(self) -> None:
        while True:
            tickets = self._next()
            with contained("flush after a compile"):
                active_telemetry().flush(CHILD_FLUSH_S)
            self._is_pending = not self._ended.empty()
            for ticket in tickets:
                ticket.put(None)

    def _next(self) -> list[Ticket]:
        """Return when something is to be exported: at once if a thread waits for it.

        Otherwise when nothing has compiled for a moment, after `LONGEST_DELAY_S` at the latest.
        """
        ticket = self._ended.get()
        deadline_s = time.monotonic() + LONGEST_DELAY_S
        while ticket is None and time.monotonic() < deadline_s:
            try:
                ticket = self._ended.get(timeout=QUIET_S)
            except Empty:
                if not get_ledger().active:
                    return []
        tickets = [ticket] if ticket is not None else []
        while not self._ended.empty():
            if (ticket := self._ended.get()) is not None:
                tickets.append(ticket)
        return tickets


prompt_export = PromptExport()


def flush_after_compiles() -> None:
    """Export the compiles of this process soon after they end."""
    prompt_export.begin()
