"""The operator's settings for warmups."""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias

WarmupWhen: TypeAlias = Literal["on-start", "on-request"]
ReadyWhen: TypeAlias = Literal["warm", "loaded"]
OnWarmupFailure: TypeAlias = Literal["not-ready", "serve", "exit"]
OnHang: TypeAlias = Literal["keep", "exit"]


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """When a warmup begins, and what follows from its end.

    Attributes:
        warmup: Whether a job starts automatically when the models are loaded.
        ready_when: What ``/readyz`` waits for: every item warm, or only the models loaded.
        on_warmup_failure: What happens if the first warmup leaves an item cold.
        on_hang: What happens if a job times out while its compile still runs.
        budget_s: Seconds that a job may take if its request sets no limit; ``None`` for no limit.
        is_guest: Whether the server belongs to another program, which reports its own start and
            readiness.
        follows: Whether the workers warm up by themselves: this process is ready when they are.
    """

    warmup: WarmupWhen = "on-start"
    ready_when: ReadyWhen = "warm"
    on_warmup_failure: OnWarmupFailure = "not-ready"
    on_hang: OnHang = "keep"
    budget_s: float | None = None
    is_guest: bool = False
    follows: bool = False
