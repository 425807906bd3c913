"""Whether a request joins the running job, and the problems if it may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compilespan_service.door.problems import ProblemError
from compilespan_service.warmups.lifecycle import ProcessState
from compilespan_service.warmups.plans import keys

if TYPE_CHECKING:
    from compilespan.warmup.plan import Plan
    from compilespan_service.schemas import WarmupRequest
    from compilespan_service.warmups.job import Job
    from compilespan_service.warmups.lifecycle import Lifecycle

RETRY_AFTER_S = "2"


class PlanConflictError(ProblemError):
    """The running job does not cover the request."""

    def __init__(self, job: Job) -> None:
        """Name the running job."""
        super().__init__(
            "plan-conflict",
            "The running job does not cover this request, or is being cancelled; wait until it "
            "ends, or request a part of its items with the same budget_s.",
            headers={"Retry-After": RETRY_AFTER_S},
        )
        self.job = job


class CompileStillRunningError(ProblemError):
    """A job ended but its call still runs, so the thread cannot run another job."""

    def __init__(self, job: Job) -> None:
        """Name the job whose call still runs."""
        super().__init__(
            "compile-still-running",
            f"Job {job.id} is over ({job.state}), but its compile cannot be interrupted and still "
            "holds the thread. Try again when it has ended; --on-hang=exit ends such a process.",
            headers={"Retry-After": RETRY_AFTER_S},
        )
        self.job = job


def check(lifecycle: Lifecycle, *, follows: bool) -> None:
    """Check that this process can run jobs at all.

    Args:
        lifecycle: The state of the process.
        follows: Whether the workers warm up by themselves.

    Raises:
        ProblemError: ``draining`` or ``target-not-found``.
    """
    if lifecycle.state is ProcessState.DRAINING:
        raise ProblemError("draining", "The process is shutting down; use another one.")
    if follows:
        why = "The workers of this server warm up by themselves when they start."
        raise ProblemError("target-not-found", why)
    if lifecycle.state in (ProcessState.LOAD_FAILED, ProcessState.NO_TARGETS):
        raise ProblemError("target-not-found", f"The server has no targets: {lifecycle.detail}")


def joins(
    asked: WarmupRequest, todo: Plan | None, running: Job, default_budget_s: float | None
) -> bool:
    """Whether the running job covers a request.

    Args:
        asked: The request.
        todo: The items of the request; ``None`` while the targets are unknown.
        running: The running or queued job.
        default_budget_s: Seconds that a job may take if its request sets no limit; ``None`` for
            no limit.
    """
    if running.state == "cancelling":
        return False
    does = running.request
    same_budget = (asked.budget_s or default_budget_s) == (does.budget_s or default_budget_s)
    if not same_budget or asked.verify > does.verify:
        return False
    if asked.on_error == "continue" and does.on_error == "stop":
        return False
    if todo is not None and running.planned is not None:
        return keys(todo) <= keys(running.planned)
    # While the targets are unknown, names may be wrong: only an identical request joins.
    return (asked.targets, asked.shapes) == (does.targets, does.shapes)
