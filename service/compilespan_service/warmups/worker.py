"""A thread that loads the models, then runs queued jobs one after another."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from compilespan_service.warmups.responsive import responsive

if TYPE_CHECKING:
    from collections.abc import Callable

    from compilespan_service.warmups.job import Job


class Worker:
    """The thread that loads and warms models. A call that hangs blocks it and cannot be ended."""

    def __init__(
        self,
        load: Callable[[], None],
        run: Callable[[Job], None],
        broke: Callable[[Job, BaseException], None],
    ) -> None:
        """Take the functions that the thread calls; `start` starts it.

        Args:
            load: Called first.
            run: Called with each job.
            broke: Called with an exception that ``run`` raised. Not even ``KeyboardInterrupt`` or
                ``SystemExit`` of a model ends the thread.
        """
        self._load = load
        self._run = run
        self._broke = broke
        self._held_by: Job | None = None
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="compilespan-jobs", daemon=True)

    @property
    def job(self) -> Job | None:
        """The job whose call holds the thread; ``None`` if it is free."""
        return self._held_by

    def start(self) -> None:
        """Begin to load, then to run what is queued."""
        self._thread.start()

    def put(self, job: Job) -> None:
        """Queue a job."""
        self._queue.put(job)

    def stop(self, timeout_s: float) -> bool:
        """End the thread after the call that holds it; ``True`` if it ended in time."""
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        with responsive():
            self._load()
        while (job := self._queue.get()) is not None:
            self._held_by = job
            try:
                with responsive():
                    self._run(job)
            except BaseException as error:
                self._broke(job, error)
            finally:
                self._held_by = None
