"""``compilespan serve``: the service as a standalone server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compilespan import get_ledger
from compilespan.cache.shared import WAIT_S
from compilespan_service.cli import require
from compilespan_service.cli.options import (
    CacheMode,
    CacheUnsigned,
    CacheUrl,
    CacheWait,
    choice,
    use_cache,
)
from compilespan_service.warmups.policy import OnHang, OnWarmupFailure, ReadyWhen, WarmupWhen


def serve(
    factory: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE:FACTORY]",
            envvar="COMPILESPAN_FACTORY",
            help="Function that returns WarmupTargets; defaults to the embedded demo.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 selects a free one.")] = 8000,
    warmup: Annotated[
        WarmupWhen,
        typer.Option(
            **choice(WarmupWhen),
            envvar="COMPILESPAN_WARMUP",
            help="When to start the first warmup.",
        ),
    ] = "on-start",
    ready_when: Annotated[
        ReadyWhen,
        typer.Option(
            **choice(ReadyWhen), envvar="COMPILESPAN_READY_WHEN", help="What /readyz waits for."
        ),
    ] = "warm",
    on_warmup_failure: Annotated[
        OnWarmupFailure,
        typer.Option(
            **choice(OnWarmupFailure),
            envvar="COMPILESPAN_ON_WARMUP_FAILURE",
            help="What to do if the first warmup does not make everything warm.",
        ),
    ] = "not-ready",
    on_hang: Annotated[
        OnHang,
        typer.Option(
            **choice(OnHang),
            envvar="COMPILESPAN_ON_HANG",
            help="What to do if a job runs out of time while it compiles.",
        ),
    ] = "keep",
    budget_s: Annotated[
        float | None,
        typer.Option(
            envvar="COMPILESPAN_BUDGET_S",
            help="Seconds a job may take; no limit by default.",
            show_default=False,
        ),
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="COMPILESPAN_STATE_DIR",
            help="Directory of the journals; a temporary one by default.",
            show_default=False,
        ),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            envvar="COMPILESPAN_ALLOWED_HOSTS",
            help="Host name that requests may use, *.example.com for all names below it; repeat "
            "the option for more names (in the variable: separate by commas). Defaults to loopback "
            "names and the address that the server listens on.",
            show_default=False,
        ),
    ] = None,
    cache_url: CacheUrl = None,
    cache_mode: CacheMode = "readwrite",
    cache_wait: CacheWait = WAIT_S,
    cache_unsigned: CacheUnsigned = False,
    root_path: Annotated[
        str, typer.Option(help="Path under which a proxy serves it.", show_default=False)
    ] = "",
    allow_unauthenticated: Annotated[
        bool,
        typer.Option(
            "--allow-unauthenticated",
            help="Listen beyond loopback without COMPILESPAN_TOKEN or COMPILESPAN_TOKEN_FILE.",
        ),
    ] = False,
) -> None:
    """Warm up compiled models and report what it cost."""
    get_ledger().readiness.time_imports()
    require("service")
    use_cache("serve", cache_url, cache_mode, wait_s=cache_wait, unsigned=cache_unsigned)
    from compilespan_service.cli.server import run_server  # noqa: PLC0415  # needs `service`

    run_server(
        host,
        port,
        allow_unauthenticated=allow_unauthenticated,
        root_path=root_path,
        allowed_hosts=",".join(allowed_host) if allowed_host else None,
        factory=factory,
        warmup=warmup,
        ready_when=ready_when,
        on_warmup_failure=on_warmup_failure,
        on_hang=on_hang,
        budget_s=budget_s,
        state_dir=state_dir,
    )
