"""``compilespan serve``: the service as a server of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from compilespan_service.cli import missing


def serve(
    factory: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE:FACTORY]",
            help="A function that returns WarmupTargets. Without it: the embedded demo.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    warmup: Annotated[
        str | None, typer.Option(help="on-start (default) or on-request.", show_default=False)
    ] = None,
    ready_when: Annotated[
        str | None, typer.Option(help="warm (default) or loaded.", show_default=False)
    ] = None,
    on_warmup_failure: Annotated[
        str | None,
        typer.Option(help="not-ready (default), serve or exit.", show_default=False),
    ] = None,
    on_hang: Annotated[
        str | None,
        typer.Option(
            help="keep (default) or exit: when a job's time is up and its compile goes on.",
            show_default=False,
        ),
    ] = None,
    budget_s: Annotated[
        float | None,
        typer.Option(help="Seconds a job may take; no limit by default.", show_default=False),
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(help="Where journals live; a temporary one by default.", show_default=False),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            help="A name that requests may call this server by, *.example.com for all below it; "
            "may be given several times. By default loopback names and the address it listens on.",
            show_default=False,
        ),
    ] = None,
    root_path: Annotated[
        str, typer.Option(help="The path under which a proxy has it.", show_default=False)
    ] = "",
    allow_unauthenticated: Annotated[
        bool,
        typer.Option("--allow-unauthenticated", help="Listen beyond this machine without a token."),
    ] = False,
) -> None:
    """Warm up compiled models, and say what it cost."""
    try:
        from compilespan_service.cli.server import run_server  # noqa: PLC0415  # needs `service`
    except ModuleNotFoundError as error:
        sys.exit(missing(error))
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
