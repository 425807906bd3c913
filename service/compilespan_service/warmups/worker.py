"""The thread that loads the targets and runs the jobs, one at a time."""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import trace

from compilespan import get_ledger, semconv
from compilespan.ledger.entries import Part
from compilespan.warmup.warmup import Warmup
from compilespan_service.door.problems import ProblemError
from compilespan_service.warmups.deadlines import Deadlines
from compilespan_service.warmups.lifecycle import Lifecycle, ProcessState
from compilespan_service.warmups.metrics import WarmupDuration
from compilespan_service.warmups.plans import Planned, Plans
from compilespan_service.warmups.responsive import responsive
from compilespan_service.warmups.targets import Factory, elsewhere, make_targets

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span

    from compilespan.telemetry.startup import Startup
    from compilespan.warmup.plan import WarmupItem
    from compilespan_service.schemas import JobState
    from compilespan_service.settings import Settings
    from compilespan_service.warmups.job import Job

HANG_GRACE_S = 1.0
"""So long a call may go on after its job timed out before ``--on-hang=exit`` ends the process."""

_logger = logging.getLogger("compilespan_service")


class Worker:
    """Runs what is queued. A call that hangs holds its thread; the job ends all the same."""

    def __init__(
        self,
        find_factory: Callable[[], Factory],
        settings: Settings,
        lifecycle: Lifecycle,
        startup: Startup,
    ) -> None:
        """Know where the targets come from; nothing is imported before `start`."""
        self._find_factory = find_factory
        self._settings = settings
        self._lifecycle = lifecycle
        self._startup = startup
        self.on_failure: Callable[[], None] = lambda: None
        """Called when the operator wants the process to end."""
        self.plans: Plans | None = None
        """`None` while the targets are not loaded."""
        self.lock = threading.RLock()
        """Held where a job's state and the plans change."""
        self.warms_others = False
        """Whether a target is a server in another process."""
        self._warmup: Warmup | None = None
        self._held_by: Job | None = None
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="compilespan-jobs", daemon=True)
        self._duration = WarmupDuration()

    def start(self) -> None:
        """Begin to load, then to run what is queued."""
        self._thread.start()

    def put(self, job: Job) -> None:
        """Queue a job."""
        self._queue.put(job)

    def stop(self, timeout_s: float) -> bool:
        """End the thread after its call; ``True`` if it ended. A compile cannot be interrupted.

        What the thread still holds is closed as it is: the job, its spans.
        """
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        job, warmup = self._held_by, self._warmup
        if not self._thread.is_alive() or job is None or warmup is None:
            return not self._thread.is_alive()
        with self.lock:
            if job.state == "running":
                job.go("cancelling")
            if not job.is_over:
                warmup.abandon("cancelled", "the process ended")
                self._end(job, "cancelled", "the process ended")
        return False

    @property
    def hung(self) -> Job | None:
        """The job that is over although its call still holds the thread."""
        job = self._held_by
        return job if job is not None and job.is_over else None

    def _work(self) -> None:
        with responsive():
            self._load()
        while (job := self._queue.get()) is not None:
            self._held_by = job
            try:
                with responsive():
                    self._run(job)
            except BaseException:  # SystemExit of a model ends no server
                _logger.exception("warmup job %s broke", job.id)
                self._lifecycle.advance(ProcessState.NOT_WARM, f"job {job.id} broke")
                if not job.is_over:
                    job.go("failed", "an internal error; the server's log has it")
            finally:
                self._held_by = None

    def _load(self) -> None:
        try:
            with self._startup.phase("import"):
                targets = make_targets(self._find_factory())
            with self._startup.phase("load"):
                for target in targets:
                    if target.load is not None:
                        target.load()
        except BaseException as error:  # SystemExit of a factory ends no server
            _logger.exception("the targets cannot be loaded")
            why = f"{type(error).__name__}: {error}"
            self._lifecycle.advance(ProcessState.LOAD_FAILED, why)
            self._startup.end("failed", why)
            return
        self.warms_others = any(elsewhere(target) is not None for target in targets)
        with self.lock:
            self.plans = Plans(targets)
        if targets:
            self._lifecycle.advance(ProcessState.COLD)
        else:
            self._lifecycle.advance(ProcessState.NO_TARGETS, "the factory returned no targets")

    def _run(self, job: Job) -> None:
        if job.is_over:  # cancelled while it waited
            self._lifecycle.advance(ProcessState.NOT_WARM, f"job {job.id} was cancelled")
            return
        if self.plans is None:
            job.go("failed", f"the models could not be loaded: {self._lifecycle.detail}")
            return
        if self._lifecycle.state is ProcessState.DRAINING:
            job.go("cancelled", "the server is shutting down")
            return
        if job.planned is None:
            try:
                job.planned = self.plans.planned(job.request)
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

        def item_changed(item: WarmupItem) -> None:
            deadlines.item_changed(item)
            job.item_changed(item)

        with self.lock:
            if job.is_over:  # cancelled a moment ago
                return
            job.go("running")
        budget_s = job.request.budget_s or self._settings.budget_s
        deadlines = Deadlines(planned, lambda why: self._expire(job, why))
        self._warmup = Warmup(
            planned,
            verify=job.request.verify,
            on_error=job.request.on_error,
            listener=job,
            on_item=item_changed,
            on_span=name_job,
            go_on=lambda: self._goes_on(job),
            elsewhere=elsewhere,
            survives_exit=True,
        )
        with deadlines.budget(budget_s):
            result = self._warmup.run()
        with self.lock:
            if job.is_over:  # its time was up meanwhile
                return
            job.warnings = list(result.warnings)
            self._end(job, result.state)

    def _goes_on(self, job: Job) -> bool:
        return job.state == "running" and self._lifecycle.state is not ProcessState.DRAINING

    def _expire(self, job: Job, why: str) -> None:
        """A job's time is up while one of its calls holds the thread."""
        with self.lock:
            if job.is_over or self._warmup is None:
                return
            if not self._warmup.abandon("timed_out", why):
                return  # it came through at the last moment
            self._end(job, "timed_out", why)
        if self._settings.on_hang == "exit":
            time.sleep(HANG_GRACE_S)
            if self._held_by is job:
                _logger.error("job %s hangs (%s): ending the process", job.id, why)
                self.on_failure()

    def _end(self, job: Job, state: JobState, error: str | None = None) -> None:
        """The items are done: remember them, and say what that makes of the process."""
        plans = self.plans
        assert plans is not None  # a job runs on loaded targets only
        plans.remember(job.planned or [])
        warm = plans.all_warm
        was_cold = self._lifecycle.state is ProcessState.COLD
        if was_cold:
            get_ledger().note_part(Part("warmup", job.elapsed_s))
        # Who waits for the job finds the probes as it left them.
        if warm:
            self._lifecycle.advance(ProcessState.WARM)
        else:
            why = error or "an item is not warm"
            self._lifecycle.advance(ProcessState.NOT_WARM, f"job {job.id}: {why}")
        if state == "cancelled" and job.state == "running":  # by the end of the process
            job.go("cancelling")
        job.go(state, error)
        self._duration.record(job.elapsed_s, state)
        if (journal := get_ledger().journal) is not None:
            journal.note("job", job.schema().model_dump(mode="json"))
        if was_cold and not warm:
            self._startup.end("failed", f"the warmup {state}")
            if self._settings.on_warmup_failure == "exit":
                self.on_failure()
