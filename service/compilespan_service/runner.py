"""Loads the targets and runs the jobs, one at a time, in one thread of its own."""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import metrics, trace

from compilespan import get_ledger, semconv
from compilespan.propagation import environment_context
from compilespan.warmup import Warmup
from compilespan_service.jobbook import JobBook
from compilespan_service.jobs import Job
from compilespan_service.lifecycle import Lifecycle, ProcessState
from compilespan_service.plans import Planned, Plans, keys
from compilespan_service.problems import ProblemError
from compilespan_service.schemas import WarmupRequest
from compilespan_service.targets import Factory, make_targets

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span

    from compilespan_service.schemas import JobState
    from compilespan_service.settings import Settings

RETRY_AFTER_S = "2"

_logger = logging.getLogger("compilespan_service")


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


class Runner:
    """The models of this process and their warmup."""

    def __init__(self, find_factory: Callable[[], Factory], settings: Settings) -> None:
        """Know where the targets come from; nothing is imported before `start`."""
        self._find_factory = find_factory
        self._settings = settings
        self.lifecycle = Lifecycle(settings)
        self.on_failure: Callable[[], None] = lambda: None
        """Called when the first warmup leaves an item cold and the operator wants an exit."""
        self._plans: Plans | None = None
        """`None` while the targets are not loaded."""
        self.jobs = JobBook()
        self._lock = threading.RLock()
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="compilespan-jobs", daemon=True)
        self._duration = metrics.get_meter("compilespan_service").create_histogram(
            semconv.METRIC_WARMUP_DURATION,
            unit="s",
            description="How long a warmup job took.",
            explicit_bucket_boundaries_advisory=semconv.DURATION_BUCKETS_S,
        )

    def start(self) -> None:
        """Begin to load, and to warm up if the operator wants that at the start."""
        if self._settings.warmup == "on-start":
            token = otel_context.attach(environment_context() or otel_context.Context())
            try:
                self._enqueue(Job(WarmupRequest()))
            finally:
                otel_context.detach(token)
        self._thread.start()

    def stop(self, timeout_s: float = 0.5) -> bool:
        """Drain: no new jobs; ``True`` if the thread ended. A compile cannot be interrupted."""
        self.lifecycle.advance(ProcessState.DRAINING)
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def cancel(self, job_id: str) -> Job:
        """Cancel a job: at once while it waits, else before its next call. An ended one stays.

        Raises:
            ProblemError: ``job-not-found``.
        """
        job = self.jobs.find(job_id)
        with self._lock:
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
        with self._lock:
            if self.lifecycle.state is ProcessState.DRAINING:
                raise ProblemError("draining", "The process is shutting down; ask another one.")
            running = self.jobs.current
            if self._plans is None:
                return self._submit_unloaded(request, running), False
            planned = self._plans.planned(request)
            if running is not None and not running.is_over:
                if running.planned is None or keys(planned) <= keys(running.planned):
                    return running, False
                raise PlanConflictError(running)
            todo = planned if request.force else self._plans.cold(planned)
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
        self._queue.put(job)

    def _work(self) -> None:
        self._load()
        while (job := self._queue.get()) is not None:
            try:
                self._run(job)
            except Exception:
                _logger.exception("warmup job %s broke", job.id)
                self.lifecycle.advance(ProcessState.NOT_WARM, f"job {job.id} broke")
                if not job.is_over:
                    job.go("failed", "an internal error; the server's log has it")

    def _load(self) -> None:
        began_s = time.monotonic()
        try:
            targets = make_targets(self._find_factory())
            imported_s = time.monotonic()
            get_ledger().note_startup("import", imported_s - began_s)
            for target in targets:
                if target.load is not None:
                    target.load()
            get_ledger().note_startup("load", time.monotonic() - imported_s)
        except BaseException as error:  # SystemExit of a factory ends no server
            _logger.exception("the targets cannot be loaded")
            self.lifecycle.advance(ProcessState.LOAD_FAILED, f"{type(error).__name__}: {error}")
            return
        with self._lock:
            self._plans = Plans(targets)
        if targets:
            self.lifecycle.advance(ProcessState.COLD)
        else:
            self.lifecycle.advance(ProcessState.NO_TARGETS, "the factory returned no targets")

    def _run(self, job: Job) -> None:
        if job.is_over:  # cancelled while it waited
            self.lifecycle.advance(ProcessState.NOT_WARM, f"job {job.id} was cancelled")
            return
        if self._plans is None:
            job.go("failed", f"the models could not be loaded: {self.lifecycle.detail}")
            return
        if self.lifecycle.state is ProcessState.DRAINING:
            job.go("cancelled", "the server is shutting down")
            return
        if job.planned is None:
            try:
                job.planned = self._plans.planned(job.request)
            except ProblemError as error:
                job.go("failed", error.detail)
                return
        token = otel_context.attach(job.context)
        try:
            self._warm(job, job.planned)
        finally:
            otel_context.detach(token)

    def _warm(self, job: Job, planned: Planned) -> None:
        def name_job(span: Span) -> None:
            span.set_attribute(semconv.JOB_ID, job.id)
            context = span.get_span_context()
            if context.is_valid:
                job.trace_id = trace.format_trace_id(context.trace_id)

        with self._lock:
            if job.is_over:  # cancelled a moment ago
                return
            job.go("running")
        result = Warmup(
            planned,
            verify=job.request.verify,
            on_error=job.request.on_error,
            on_record=job.take,
            on_span=name_job,
            go_on=lambda: self._goes_on(job),
        ).run()
        job.warnings = list(result.warnings)
        self._settle(job, result.state)

    def _goes_on(self, job: Job) -> bool:
        return job.state == "running" and self.lifecycle.state is not ProcessState.DRAINING

    def _settle(self, job: Job, state: JobState) -> None:
        """The items are done: remember them, and say what that makes of the process."""
        plans = self._plans
        assert plans is not None  # a job runs on loaded targets only
        with self._lock:
            plans.remember(job.planned or [])
            warm = plans.all_warm
        get_ledger().note_startup("warmup", job.elapsed_s)
        was_cold = self.lifecycle.state is ProcessState.COLD
        if warm:
            self.lifecycle.advance(ProcessState.WARM)
        else:
            self.lifecycle.advance(ProcessState.NOT_WARM, f"job {job.id}: an item is not warm")
        with self._lock:
            if state == "cancelled" and job.state == "running":  # by the end of the process
                job.go("cancelling")
            job.go(state)
        self._duration.record(job.elapsed_s, {semconv.JOB_STATE: state})
        if (journal := get_ledger().journal) is not None:
            journal.note("job", job.schema().model_dump(mode="json"))
        if was_cold and not warm and self._settings.on_warmup_failure == "exit":
            self.on_failure()
