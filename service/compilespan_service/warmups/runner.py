"""The warmup of this process: starts, joins and cancels jobs, and acts on their results."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from compilespan import get_ledger
from compilespan.telemetry.startup import Startup
from compilespan_service.door.problems import ProblemError
from compilespan_service.door.text import described
from compilespan_service.schemas import WarmupRequest
from compilespan_service.signals import terminate
from compilespan_service.warmups import admission
from compilespan_service.warmups.book import JobBook
from compilespan_service.warmups.execution import Execution, Owner
from compilespan_service.warmups.following import Following
from compilespan_service.warmups.job import Job
from compilespan_service.warmups.lifecycle import Lifecycle, ProcessState
from compilespan_service.warmups.loader import load_models
from compilespan_service.warmups.plans import Plans
from compilespan_service.warmups.spec import LoadError
from compilespan_service.warmups.waiting import Waiting
from compilespan_service.warmups.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from compilespan import WarmupTarget
    from compilespan_service.schemas import JobState
    from compilespan_service.warmups.policy import Policy
    from compilespan_service.warmups.targets import Factory

HANG_GRACE_S = 1.0
"""Seconds from the timeout of a job until ``--on-hang=exit`` ends the process."""

_logger = logging.getLogger("compilespan_service")


class Runner:
    """The models of this process and their warmup, which runs in the worker's thread."""

    def __init__(
        self,
        find_factory: Callable[[], Factory],
        policy: Policy,
        *,
        end_process: Callable[[], None] = terminate,
    ) -> None:
        """Import nothing yet; `start` does.

        Args:
            find_factory: Returns the factory of the targets; called in the worker's thread.
            policy: The operator's settings.
            end_process: Called if the process must end according to ``policy``.
        """
        self._find_factory = find_factory
        self._policy = policy
        self._end_process = end_process
        self._startup = Startup()
        self._lock = threading.RLock()  # reentrant: a signal handler drains
        self._worker = Worker(self._load, self._run, self._broke)
        self._owner = Owner(self._lock, self._goes_on, self._end, self._hung)
        self._plans: Plans | None = None
        self._execution: Execution | None = None
        self._waiting = Waiting()
        """The wait for a ``POST /warmup``: the first one, or another one while items are cold."""
        self.lifecycle = Lifecycle(policy)
        self.jobs = JobBook()
        self.following = Following(follows=policy.follows)
        self.warms_others = False
        """Whether a target is a server in another process."""

    def open(self) -> None:
        """Begin the span of the start; `start` loads the models."""
        self.lifecycle.begin()
        if not self._policy.is_guest:
            self._startup.begin()

    def start(self) -> None:
        """Begin to load the models, and to warm them if ``policy`` says so."""
        if self.following.follows:
            self.following.await_ready(self.lifecycle)
            return
        if self._policy.warmup == "on-start":
            with self._startup.as_parent():
                self._enqueue(Job(WarmupRequest()))
        self._worker.start()

    def drain(self) -> None:
        """Accept no more jobs, and end all event streams."""
        self.lifecycle.advance(ProcessState.DRAINING)
        for job in self.jobs.all:
            job.feed.close()

    def stop(self, timeout_s: float = 0.5) -> bool:
        """Drain and end; return ``True`` if no call still runs.

        A compile cannot be interrupted; if one runs on, its job and spans are closed as they are.
        """
        self.lifecycle.advance(ProcessState.DRAINING)
        with self._lock:
            for job in self.jobs.all:
                if job.state == "queued":
                    self.jobs.end(job, "cancelled", "the server is shutting down")
        stopped = self._worker.stop(timeout_s)
        if not stopped and self._execution is not None:
            self._execution.cut_off("cancelled", "the process ended")
        self.drain()
        self._startup.end("shutdown")
        if not stopped:
            get_ledger().active.interrupt()
        return stopped

    def cancel(self, job_id: str) -> Job:
        """Cancel a job: at once if it is queued, else before its next call. Ignore ended jobs.

        Raises:
            ProblemError: ``job-not-found``.
        """
        job = self.jobs.find(job_id)
        with self._lock:
            if job.state == "queued":
                self.jobs.end(job, "cancelled", "cancelled while it waited")
            elif job.state == "running":
                job.go("cancelling")
        return job

    def submit(self, request: WarmupRequest) -> tuple[Job, bool]:
        """Start a job, or join the running one if it covers the request.

        Returns:
            The job, and whether everything asked for is warm already.

        Raises:
            ProblemError: ``draining``, ``target-not-found``, ``invalid-request``,
                ``plan-conflict`` or ``compile-still-running``.
        """
        with self._lock:
            admission.check(self.lifecycle, follows=self.following.follows)
            todo = self._plans.todo(request) if self._plans is not None else None
            if self._plans is not None and not todo:
                return self._plans.made_warm_by(request), True
            if (running := self.jobs.running) is not None:
                if admission.joins(request, todo, running, self._policy.budget_s):
                    return running, False
                raise admission.PlanConflictError(running)
            # Without an abandoned call, the thread of an ended job is about to be free.
            if self._execution is not None and self._execution.is_abandoned and self._worker.job:
                raise admission.CompileStillRunningError(self._worker.job)
            job = Job(request)
            job.plan(todo)
            self._enqueue(job)
            return job, False

    def _enqueue(self, job: Job) -> None:
        self.jobs.add(job)
        self._worker.put(job)

    def _load(self) -> None:
        try:
            with self._startup.as_parent():  # parent of compiles during the load
                load_models(self._find_factory, self._know)
        except BaseException as error:  # nothing may end the thread
            why = f"the models cannot be loaded: {described(error)}"
            self._fail_load(error if isinstance(error, LoadError) else LoadError(why, error))
            return
        if self._plans is not None and self._plans.has_targets:
            if self._policy.warmup == "on-request":
                self._waiting.begin()
            self.lifecycle.advance(ProcessState.COLD)
        else:
            self.lifecycle.advance(ProcessState.NO_TARGETS, "the factory returned no targets")

    def _fail_load(self, error: LoadError) -> None:
        why = str(error)
        # No exc_info, because it would print our own frames.
        _logger.error("compilespan: %s", f"{why}\n{error.traceback}".rstrip())
        self.lifecycle.advance(ProcessState.LOAD_FAILED, why)
        self._fail_start(why)

    def _know(self, targets: list[WarmupTarget]) -> None:
        """Plan the jobs that were requested before the targets were known."""
        plans = Plans(targets)
        self.warms_others = plans.warms_others
        with self._lock:
            self._plans = plans
            for job in self.jobs.all:
                if not job.is_over:
                    try:
                        job.plan(plans.todo(job.request))
                    except ProblemError as error:
                        self.jobs.end(job, "failed", str(error.detail))

    def _run(self, job: Job) -> None:
        with self._lock:
            self._execution = None
            if job.is_over:  # it ended before it ran
                if job.state == "cancelled" and self.lifecycle.state is ProcessState.COLD:
                    self.lifecycle.advance(ProcessState.NOT_WARM, f"job {job.id} was cancelled")
                    self._fail_start("the warmup was cancelled")
                return
            if job.planned is None or self.lifecycle.state is ProcessState.LOAD_FAILED:
                why = f"the models could not be loaded: {self.lifecycle.detail}"
                self.jobs.end(job, "failed", why)
                return
            self._waiting.end()
            job.go("running")
            budget_s = job.request.budget_s or self._policy.budget_s
            self._execution = Execution(job, job.planned, self._owner, budget_s)
        self._execution.run()

    def _goes_on(self, job: Job) -> bool:
        return job.state == "running" and self.lifecycle.state is not ProcessState.DRAINING

    def _broke(self, job: Job, error: BaseException) -> None:
        with suppress(BaseException):  # the exception may fail to print
            _logger.error("warmup job %s failed with an internal error", job.id, exc_info=error)
        why = f"an internal error: {described(error)}"
        with self._lock:
            if self._execution is not None:
                self._execution.cut_off("failed", why)
            elif not job.is_over:
                self.jobs.end(job, "failed", why)

    def _hung(self, job: Job, why: str) -> None:
        """End the process if ``policy`` says so and a timed-out job still holds the thread."""
        if self._policy.on_hang == "exit":
            time.sleep(HANG_GRACE_S)
            if self._worker.job is job:
                _logger.error("warmup job %s hangs (%s); ending the process", job.id, why)
                self._end_process()

    def _end(self, job: Job, state: JobState, error: str | None = None) -> None:
        """Take the results of a job, change the state of the process, and end the job."""
        plans = self._plans
        assert plans is not None  # a job runs only on known targets
        plans.remember(job, cancelled=state == "cancelled")
        was_cold = self.lifecycle.state is ProcessState.COLD
        # Before the job ends, so that clients that wait for it see the new state in the probes.
        if plans.all_warm:
            self.lifecycle.advance(ProcessState.WARM)
        else:
            why = f"job {job.id}: {error or 'an item is not warm'}"
            self.lifecycle.advance(ProcessState.NOT_WARM, why)
        if state == "cancelled" and job.state == "running":  # the process ends
            job.go("cancelling")
        self.jobs.end(job, state, error)
        if not plans.all_warm:
            self._waiting.begin()
            if was_cold:
                self._fail_start(f"the warmup ended as {state}")

    def _fail_start(self, why: str) -> None:
        self._startup.end("failed", why)
        if self._policy.on_warmup_failure == "exit":
            self._end_process()
