"""The operator's settings: arguments of ``compilespan serve``, else ``COMPILESPAN_*``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from compilespan_service.warmups.policy import (
    OnHang,
    OnWarmupFailure,
    Policy,
    ReadyWhen,
    WarmupWhen,
)

PREFIX = "COMPILESPAN_"
MAX_BUDGET_S = 86_400
"""One day, the same limit as in a request."""


class Settings(BaseModel):
    """Settings of the service: the given ones, else those of the environment.

    Attributes:
        factory: ``MODULE:FACTORY`` that returns the targets; ``None`` for the embedded demo.
        warmup: Whether a warmup job starts automatically when the models are loaded.
        ready_when: What ``/readyz`` waits for: every item warm, or only the models loaded.
        on_warmup_failure: What happens if the first warmup leaves an item cold.
        on_hang: What happens if a job times out while its compile still runs.
        budget_s: Seconds that a warmup job may take if its request sets no limit; ``None`` for
            no limit.
        processes: Number of workers that must be ready; ``None`` for ``WEB_CONCURRENCY``, else 1.
        state_dir: Directory of this server's journals; ``None`` for a temporary one.
        token: What requests must send as ``Authorization: Bearer``, except for the probes and
            the page.
        token_file: A file that holds the token, e.g. a mounted secret.
        trace_url: Address of a trace, with ``{trace_id}`` in it; the page links to it.
        allowed_hosts: Host names that requests may use in addition to loopback names and the
            address that they reach; separated by commas.
    """

    factory: str | None = None
    warmup: WarmupWhen = "on-start"
    ready_when: ReadyWhen = "warm"
    on_warmup_failure: OnWarmupFailure = "not-ready"
    on_hang: OnHang = "keep"
    budget_s: float | None = Field(default=None, gt=0, le=MAX_BUDGET_S)
    processes: int | None = Field(default=None, ge=1)
    state_dir: Path | None = None
    token: SecretStr | None = None
    token_file: Path | None = None
    allowed_hosts: str | None = None
    trace_url: str | None = None

    @field_validator("trace_url")
    @classmethod
    def _is_link(cls, url: str | None) -> str | None:
        if url is not None and not (
            url.startswith(("http://", "https://")) and "{trace_id}" in url
        ):
            raise ValueError("must be an http or https address with {trace_id} in it")
        return url

    @model_validator(mode="before")
    @classmethod
    def _with_environment(cls, given: Any) -> Any:
        # pydantic-settings would do this, but would open the port 0.05 s later.
        found = {
            name: value
            for name in cls.model_fields
            if (value := os.environ.get(PREFIX + name.upper())) is not None
            # An empty variable counts as unset. An empty token is a mistake to report.
            and (value or name == "token")
        }
        return {**found, **given} if isinstance(given, dict) else given

    @property
    def policy(self) -> Policy:
        """The settings for warmups."""
        return Policy(
            self.warmup, self.ready_when, self.on_warmup_failure, self.on_hang, self.budget_s
        )
