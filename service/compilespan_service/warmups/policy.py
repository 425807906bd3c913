"""What the operator decides about warmups."""

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
        warmup: Whether a job starts by itself when the models are loaded.
        ready_when: What ``/readyz`` asks for: every item warm, or only the models loaded.
        on_warmup_failure: What a first warmup that leaves an item cold does.
        on_hang: What happens if a job's time is up and its compile goes on.
        budget_s: Seconds that a job may take, if its request does not say.
        is_guest: Whether the server is another program's, which says itself when it serves and
            how it started.
    """

    warmup: WarmupWhen = "on-start"
    ready_when: ReadyWhen = "warm"
    on_warmup_failure: OnWarmupFailure = "not-ready"
    on_hang: OnHang = "keep"
    budget_s: float | None = None
    is_guest: bool = False
