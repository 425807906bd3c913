"""The warmup of this process: what may be started, joined, cancelled, and what follows from it."""

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
"""How long a call may go on after its job timed out before ``--on-hang=exit`` ends the process."""

_logger = logging.getLogger("compilespan_service")


class Runner:
    """The models of this process and their warmup. It decides; its worker's thread does."""

    def __init__(
        self,
        find_factory: Callable[[], Factory],
        policy: Policy,
        *,
        end_process: Callable[[], None] = terminate,
    ) -> None:
        """Know where the targets come from; nothing is imported before `start`.

        Args:
            find_factory: Returns what returns the targets; called in the worker's thread.
            policy: What the operator decided.
            end_process: Called if the operator wants the process to end.
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
        """For the first ``POST /warmup``, if the operator wants that."""
        self.lifecycle = Lifecycle(policy)
        self.jobs = JobBook()
        self.warms_others = False
        """Whether a target is a server in another process."""

    def open(self) -> None:
        """Begin the span of the start; `start` loads."""
        if not self._policy.is_guest:
            self._startup.begin()

    def start(self) -> None:
        """Begin to load, and to warm up if the operator wants that at the start."""
        if self._policy.warmup == "on-start":
            with self._startup.as_parent():
                self._enqueue(Job(WarmupRequest()))
        self._worker.start()

    def drain(self) -> None:
        """Take no more jobs, and end the streams of those that are watched."""
        self.lifecycle.advance(ProcessState.DRAINING)
        for job in self.jobs.all:
            job.feed.close()

    def stop(self, timeout_s: float = 0.5) -> bool:
        """Drain and end; ``True`` if nothing goes on. A compile cannot be interrupted.

        What the thread still holds is closed as it is: the job, its spans.
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
        """Cancel a job: at once while it waits, else before its next call. An ended one stays.

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
        """Start a job or join the one that does the same or more.

        Returns:
            The job, and whether everything asked for is warm already.

        Raises:
            ProblemError: ``draining``, ``target-not-found``, ``plan-conflict``.
        """
        with self._lock:
            if self.lifecycle.state is ProcessState.DRAINING:
                raise ProblemError("draining", "The process is shutting down; ask another one.")
            if self.lifecycle.state in (ProcessState.LOAD_FAILED, ProcessState.NO_TARGETS):
                raise ProblemError(
                    "target-not-found", f"There are no targets: {self.lifecycle.detail}"
                )
            todo = self._plans.todo(request) if self._plans is not None else None
            if self._plans is not None and not todo:
                return self._plans.made_warm_by(request), True
            if (running := self.jobs.running) is not None:
                if admission.joins(request, todo, running, self._policy.budget_s):
                    return running, False
                raise admission.PlanConflictError(running)
            # Else the thread of the job that ended is about to be free.
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
            with self._startup.as_parent():  # what compiles while it loads
                load_models(self._find_factory, self._know)
        except BaseException as error:  # whatever it is, the thread lives on
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
        # Not with our own frames, hence no traceback of the logger's.
        _logger.error("compilespan: %s", f"{why}\n{error.traceback}".rstrip())
        self.lifecycle.advance(ProcessState.LOAD_FAILED, why)
        self._fail_start(why)

    def _know(self, targets: list[WarmupTarget]) -> None:
        """Plan what was asked for before the targets were known."""
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
            if job.is_over:  # before it ran
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
        with suppress(BaseException):  # what cannot be printed
            _logger.error("warmup job %s broke", job.id, exc_info=error)
        why = f"an internal error: {described(error)}"
        with self._lock:
            if self._execution is not None:
                self._execution.cut_off("failed", why)
            elif not job.is_over:
                self.jobs.end(job, "failed", why)

    def _hung(self, job: Job, why: str) -> None:
        """A job's time is up, and its call holds the worker's thread."""
        if self._policy.on_hang == "exit":
            time.sleep(HANG_GRACE_S)
            if self._worker.job is job:
                _logger.error("job %s hangs (%s): ending the process", job.id, why)
                self._end_process()

    def _end(self, job: Job, state: JobState, error: str | None = None) -> None:
        """The items are done: remember them, and say what that makes of the process."""
        plans = self._plans
        assert plans is not None  # a job runs on known targets only
        plans.remember(job, cancelled=state == "cancelled")
        was_cold = self.lifecycle.state is ProcessState.COLD
        # Who waits for the job finds the probes as it left them.
        if plans.all_warm:
            self.lifecycle.advance(ProcessState.WARM)
        else:
            why = f"job {job.id}: {error or 'an item is not warm'}"
            self.lifecycle.advance(ProcessState.NOT_WARM, why)
        if state == "cancelled" and job.state == "running":  # by the end of the process
            job.go("cancelling")
        self.jobs.end(job, state, error)
        if not plans.all_warm:
            self._waiting.begin()
            if was_cold:
                self._fail_start(f"the warmup {state}")

    def _fail_start(self, why: str) -> None:
        self._startup.end("failed", why)
        if self._policy.on_warmup_failure == "exit":
            self._end_process()
