"""What the operator decides: arguments of ``compilespan serve``, else ``COMPILESPAN_*``."""

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
"""A day, as in a request."""


class Settings(BaseModel):
    """Settings of the service: what is given, else what the environment names.

    Attributes:
        factory: ``MODULE:FACTORY`` that returns the targets; the embedded demo where left out.
        warmup: Whether a warmup job starts by itself when the models are loaded.
        ready_when: What ``/readyz`` asks for: every item warm, or only the models loaded.
        on_warmup_failure: What a first warmup that leaves an item cold does.
        on_hang: What happens when a job's time is up and its compile goes on.
        budget_s: Seconds that a warmup job may take, where its request does not say.
        processes: Workers that have to be ready, where the server's own options do not say.
        state_dir: Where the processes of this server keep their journals.
        token: What requests must carry as ``Authorization: Bearer``, but those of the probes.
        token_file: A file that holds the token, e.g. a mounted secret.
        trace_url: Where traces are shown, for links from the page: with ``{trace_id}`` in it.
        allowed_hosts: Names that requests may call this server by, besides loopback names and the
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
            raise ValueError("an http or https address with {trace_id} in it")
        return url

    @model_validator(mode="before")
    @classmethod
    def _with_environment(cls, given: Any) -> Any:
        # pydantic-settings would do it, and hold the port up by a twentieth of a second.
        found = {
            name: value
            for name in cls.model_fields
            if (value := os.environ.get(PREFIX + name.upper())) is not None
            # An empty variable names nothing, but for an empty token, which is a mistake.
            and (value or name == "token")
        }
        return {**found, **given} if isinstance(given, dict) else given

    @property
    def policy(self) -> Policy:
        """What of it is about warmups."""
        return Policy(
            self.warmup, self.ready_when, self.on_warmup_failure, self.on_hang, self.budget_s
        )
