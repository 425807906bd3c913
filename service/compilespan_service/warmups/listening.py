"""What the other processes of a state directory compile while one of them is called."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from compilespan import semconv
from compilespan.ledger.active import CompileBegun
from compilespan.monitor.surroundings import resolve
from compilespan.process import instance_id
from compilespan_service.reading.reader import reader_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from typing_extensions import Self

    from compilespan.journal.snapshot import ProcessSnapshot

_POLL_S = 0.25
_FIRST_LOOK_S = 30.0
_SETTLE_S = 0.3
"""Seconds after an answer in which the other process may still write its records."""
LONGEST_S = 600.0
"""Longest wait in seconds for a compile that continues after the answer."""


class Listening:
    """Reports to the warmup what other processes of a state directory compile during a block."""

    def __init__(self, directory: Path, *, of_this_instance: bool = False) -> None:
        self._reader = reader_of(directory)
        self._instance = instance_id() if of_this_instance else None
        if not of_this_instance:
            self._reader.reads_others = True
        self._reader.start()
        self._listener = resolve().listener
        self.has_compiled = False
        """Whether a running process has compiled or loaded something, now or before."""
        self.compiling: list[str] = []
        """Names of the running compiles."""
        self._taken = {each.path: each.record_count for each in self._others(_FIRST_LOOK_S)}
        self._begun: set[tuple[str, int]] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="compilespan-http", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        time.sleep(_SETTLE_S)
        self._look()
        deadline = time.monotonic() + LONGEST_S
        while self.compiling and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            self._look()

    def _others(self, timeout_s: float = _POLL_S) -> Sequence[ProcessSnapshot]:
        self._reader.refreshed(timeout_s)
        found = self._reader.snapshot.processes
        return [each for each in found if self._instance in (None, each.instance)]

    def _follow(self) -> None:
        while not self._over.wait(_POLL_S):
            self._look()

    def _look(self) -> None:
        if self._listener is None:
            return
        self.has_compiled = False
        self.compiling = []
        for process in self._others():
            row = process.totals.build().total
            self.has_compiled |= process.is_running and bool(row.compiles - row.skipped + row.loads)
            pid = int(process.process["pid"])
            for begun in process.in_progress if process.is_running else ():
                self.compiling.append(begun.name)
                key = (str(process.path), begun.start_ns)
                if key not in self._begun:
                    self._begun.add(key)
                    number = _key(pid, begun.start_ns)
                    self._listener.begun(
                        CompileBegun(number, begun.name, begun.component, begun.start_ns, 0)
                    )
            new = process.record_count - self._taken.get(process.path, 0)
            self._taken[process.path] = process.record_count
            for record in process.records[-new:] if new else ():
                number = _key(pid, record.start_ns)
                for event in record.events:
                    if event.name != semconv.EVENT_STAGE:
                        self._listener.happened(number, event)
                self._listener.ended(number, record)


def _key(pid: int, start_ns: int) -> int:
    """Return a number that identifies a compile of another process within a job."""
    return hash((pid, start_ns)) & 0x7FFF_FFFF
