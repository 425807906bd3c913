"""Whether a request joins the job that runs, and the problem that it gets if it may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compilespan_service.door.problems import ProblemError
from compilespan_service.warmups.plans import keys

if TYPE_CHECKING:
    from compilespan.warmup.plan import Plan
    from compilespan_service.schemas import WarmupRequest
    from compilespan_service.warmups.job import Job

RETRY_AFTER_S = "2"


class PlanConflictError(ProblemError):
    """Another plan was asked for than that of the job that runs."""

    def __init__(self, job: Job) -> None:
        """Name the running job."""
        super().__init__(
            "plan-conflict",
            "A job is running that does not do all of what was asked for, or is being cancelled; "
            "wait for its end, or ask for a part of what it does, with the same budget_s.",
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


def joins(
    asked: WarmupRequest, todo: Plan | None, running: Job, default_budget_s: float | None
) -> bool:
    """Whether the running job does all of what is asked for.

    Args:
        asked: The request.
        todo: Its items; ``None`` while the targets are not known.
        running: The job that runs or waits.
        default_budget_s: Seconds that a job may take if its request does not say.
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
    # Names that are not known yet may be wrong: only the very same ones are.
    return (asked.targets, asked.shapes) == (does.targets, does.shapes)
