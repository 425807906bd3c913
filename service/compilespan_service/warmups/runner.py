"""The warmup of this process: what may be started, joined, cancelled, and when."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context

from compilespan import get_ledger
from compilespan.sdk.deaths import report_deaths
from compilespan.telemetry.startup import Startup
from compilespan_service.door.problems import ProblemError
from compilespan_service.reading.instance import Instance
from compilespan_service.schemas import WarmupRequest
from compilespan_service.warmups.book import JobBook
from compilespan_service.warmups.job import Job
from compilespan_service.warmups.lifecycle import Lifecycle, ProcessState
from compilespan_service.warmups.plans import keys
from compilespan_service.warmups.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from compilespan_service import schemas
    from compilespan_service.settings import Settings
    from compilespan_service.warmups.targets import Factory

RETRY_AFTER_S = "2"


class PlanConflictError(ProblemError):
    """Another plan was asked for than that of the job that runs."""

    def __init__(self, job: Job) -> None:
        """Name the running job."""
        super().__init__(
            "plan-conflict",
            "A job with another plan is running; wait for it, or ask for a part of what it does.",
            headers={"Retry-After": RETRY_AFTER_S},
        )
        self.job = job


class CompileStillRunningError(ProblemError):
    """A job ended without its call: the thread that would run another one is not free."""

    def __init__(self, job: Job) -> None:
        """Name the job whose call goes on."""
        super().__init__(
            "compile-still-running",
            f"Job {job.id} is over ({job.state}), but its compile cannot be interrupted and still "
            "holds the thread. Try again when it is through; --on-hang=exit ends such a process.",
            headers={"Retry-After": RETRY_AFTER_S},
        )
        self.job = job


class Runner:
    """The models of this process and their warmup: what requests ask of them."""

    def __init__(
        self,
        find_factory: Callable[[], Factory],
        settings: Settings,
        *,
        own_startup: bool = True,
    ) -> None:
        """Know where the targets come from; nothing is imported before `start`.

        Args:
            find_factory: Returns what returns the targets; called in the job thread.
            settings: What the operator decided.
            own_startup: Whether the ``startup`` span is the service's; vLLM's plugin has it there.
        """
        self._own_startup = own_startup
        self.settings = settings
        self._startup = Startup()
        self.lifecycle = Lifecycle(settings)
        self.worker = Worker(find_factory, settings, self.lifecycle, self._startup)
        self.jobs = JobBook()
        self.instance = Instance(settings.processes, all_starts=lambda: self.worker.warms_others)

    def start(self) -> None:
        """Begin to load, and to warm up if the operator wants that at the start."""
        if self._own_startup:
            self._startup.begin()
        if self.settings.warmup == "on-start":
            token = otel_context.attach(self._startup.context)
            try:
                self._enqueue(Job(WarmupRequest()))
            finally:
                otel_context.detach(token)
        self.worker.start()
        threading.Thread(target=_report_deaths, name="compilespan-deaths", daemon=True).start()

    def drain(self) -> None:
        """Take no more jobs, and end the streams of those that are watched."""
        self.lifecycle.advance(ProcessState.DRAINING)
        for job in self.jobs.all:
            job.feed.close()

    def stop(self, timeout_s: float = 0.5) -> bool:
        """Drain and end; ``True`` if nothing goes on. A compile cannot be interrupted."""
        self.lifecycle.advance(ProcessState.DRAINING)
        stopped = self.worker.stop(timeout_s)
        self.drain()
        self._startup.end("shutdown")
        if not stopped:
            get_ledger().active.interrupt()
        return stopped

    def told(self, job: Job, *, already_warm: bool = False) -> schemas.Job:
        """Return what the service tells of a job, which warms one worker of the instance."""
        processes = f"1 of {self.instance.process_count}"
        return job.schema(already_warm=already_warm).model_copy(update={"processes": processes})

    def cancel(self, job_id: str) -> Job:
        """Cancel a job: at once while it waits, else before its next call. An ended one stays.

        Raises:
            ProblemError: ``job-not-found``.
        """
        job = self.jobs.find(job_id)
        with self.worker.lock:
            if job.state == "queued":
                job.go("cancelled")
            elif job.state == "running":
                job.go("cancelling")
        return job

    def submit(self, request: WarmupRequest) -> tuple[Job, bool]:
        """Start a job or join the one that does the same or more.

        Returns:
            The job, and whether everything asked for is warm already.

        Raises:
            ProblemError: ``draining``, ``target-not-found``, ``plan-conflict``.
        """
        with self.worker.lock:
            if self.lifecycle.state is ProcessState.DRAINING:
                raise ProblemError("draining", "The process is shutting down; ask another one.")
            running = self.jobs.current
            if self.worker.plans is None:
                return self._submit_unloaded(request, running), False
            planned = self.worker.plans.planned(request)
            if running is not None and not running.is_over:
                if running.planned is None or keys(planned) <= keys(running.planned):
                    return running, False
                raise PlanConflictError(running)
            if (hung := self.worker.hung) is not None:
                raise CompileStillRunningError(hung)
            todo = planned if request.force else self.worker.plans.cold(planned)
            if not todo and running is not None:
                return running, True
            job = Job(request)
            job.planned = todo
            self._enqueue(job)
            return job, False

    def _submit_unloaded(self, request: WarmupRequest, running: Job | None) -> Job:
        if running is None or running.is_over:
            if self.lifecycle.state is not ProcessState.LOADING:
                raise ProblemError(
                    "target-not-found",
                    f"There are no targets: {self.lifecycle.detail or self.lifecycle.state.value}",
                )
            job = Job(request)
            self._enqueue(job)
            return job
        everything = running.request.targets is None and running.request.shapes is None
        if everything or request == running.request:
            return running
        raise PlanConflictError(running)

    def _enqueue(self, job: Job) -> None:
        self.jobs.add(job)
        self.worker.put(job)


def _report_deaths() -> None:
    """Tell of earlier starts that died; reading their journals may take a while."""
    if (journal := get_ledger().journal) is not None:
        report_deaths(journal.directory)
