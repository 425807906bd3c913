"""Everything that is read, in one object that starts once the port is open."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from compilespan_service.reading.accounts import Accounts
from compilespan_service.reading.history import History
from compilespan_service.reading.instance import Instance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from compilespan import CompileRecord
    from compilespan_service.reading.exposition import Exposition


class Readings:
    """The instance that this process belongs to, its accounts, its metrics, and the history.

    Attributes:
        instance: The processes of this start.
        accounts: What they compiled.
        history: All starts in the state directory.
    """

    def __init__(
        self,
        expected: int | None,
        all_starts: Callable[[], bool],
        *,
        follows: bool = False,
        trace_url: str | None = None,
    ) -> None:
        """Read nothing yet; see `Instance` and `History` for the arguments."""
        self.instance = Instance(expected, follows=follows, all_starts=all_starts)
        self.accounts = Accounts(self.instance)
        self.history = History(self.instance, trace_url)
        self._lock = threading.Lock()
        self._exposition: Exposition | None = None

    def open(self) -> None:
        """Find the journals of other processes; `start` reads them."""
        # The exposition is made before reading begins, else it would miss records.
        self.instance.open(self.exposition, self._take, self._take_others_job)

    def start(self) -> None:
        """Begin to read, in a thread."""
        self.instance.start()

    def stop(self) -> None:
        """Stop reading."""
        self.instance.stop()

    def exposition(self) -> Exposition:
        """Return the metrics, made on first use: the port does not wait for their imports."""
        with self._lock:
            if self._exposition is None:
                from compilespan_service.reading.exposition import Exposition  # noqa: PLC0415

                self._exposition = Exposition(self.instance)
            return self._exposition

    def take_job(self, elapsed_s: float, state: str) -> None:
        """Count a warmup job of this process."""
        self.exposition().take_job(elapsed_s, state)

    def _take(self, record: CompileRecord) -> None:
        self.exposition().take(record)

    def _take_others_job(self, job: Mapping[str, Any]) -> None:
        self.take_job(job["elapsed_s"], job["state"])
