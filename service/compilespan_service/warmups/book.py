"""The jobs that a process remembers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from compilespan import get_ledger
from compilespan.process.faults import contained
from compilespan.telemetry.warmups import WarmupDuration
from compilespan_service.door.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable

    from compilespan_service.schemas import JobState
    from compilespan_service.warmups.job import Job

MAX_JOBS = 64


class JobBook:
    """The last `MAX_JOBS` jobs, oldest first. Safe to use from any thread."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._lock = threading.RLock()  # reentrant: a signal handler drains
        self._duration = WarmupDuration()
        self.on_end: Callable[[float, str], object] = lambda *_: None
        """Called with the seconds and the state of each job that ended."""

    def add(self, job: Job) -> None:
        """Remember a job, and forget the oldest ones beyond `MAX_JOBS`."""
        with self._lock:
            self._jobs[job.id] = job
            while len(self._jobs) > MAX_JOBS:
                del self._jobs[next(iter(self._jobs))]

    def end(self, job: Job, state: JobState, error: str | None = None) -> None:
        """End a job, record its duration, and write it to the journal."""
        job.go(state, error)
        self._duration.record(job.elapsed_s, job.state)
        with contained("count a warmup job"):
            self.on_end(job.elapsed_s, job.state)
        if (journal := get_ledger().journal) is not None:
            journal.note("job", job.schema().model_dump(mode="json"))

    @property
    def all(self) -> list[Job]:
        """All remembered jobs, oldest first."""
        with self._lock:
            return list(self._jobs.values())

    @property
    def running(self) -> Job | None:
        """The running or queued job."""
        return next((job for job in self.all if not job.is_over), None)

    @property
    def current(self) -> Job | None:
        """The running or queued job, else the latest."""
        jobs = self.all
        return self.running or (jobs[-1] if jobs else None)

    def find(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            ProblemError: ``job-not-found``.
        """
        with self._lock:
            found = self._jobs.get(job_id)
        if found is None:
            raise ProblemError(
                "job-not-found",
                f"This process has no job {job_id[:64]!r}; GET /warmup/jobs lists the last "
                f"{MAX_JOBS} of the process that answers.",
            )
        return found
