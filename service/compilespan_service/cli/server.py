"""The server behind ``compilespan serve``: port, app, progress, and an end that flushes."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import typer
import uvicorn
from pydantic import ValidationError

from compilespan import get_ledger
from compilespan.journal.directory import discard
from compilespan.sdk import Providers, configure
from compilespan_service.app import create_app, factory_of
from compilespan_service.door.security import TokenError, is_loopback, token_digest
from compilespan_service.settings import Settings
from compilespan_service.state import open_state
from compilespan_service.warmups.loader import DEMO, SpecError, check_spec
from compilespan_service.warmups.runner import Runner

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi import FastAPI

    from compilespan_service.warmups.targets import Factory

EXIT_USAGE = 2
EXIT_WARMUP_FAILED = 3
_FLUSH_S = 4.0
_LOOK_AGAIN_S = 0.01
_BACKLOG = 2048


def run_server(
    host: str, port: int, *, allow_unauthenticated: bool, root_path: str, **given: Any
) -> None:
    """Serve until a signal comes, then flush and end the process.

    Args:
        host: Address to listen on.
        port: Port; 0 takes a free one.
        allow_unauthenticated: Listen beyond loopback although there is no token.
        root_path: Under which a proxy has it.
        given: Settings that the command line has; ``None`` leaves one to the environment.
    """
    settings = _settings(**given)
    spec = settings.factory or DEMO
    code = 0

    def end(with_code: int = EXIT_WARMUP_FAILED) -> None:
        nonlocal code
        code = code or with_code
        server.should_exit = True

    def find() -> Factory:
        try:
            return factory_of(spec)
        except SpecError:
            end(EXIT_USAGE)
            raise

    try:
        check_spec(spec)
    except SpecError as error:
        typer.echo(f"compilespan: {error}", err=True)
        raise typer.Exit(EXIT_USAGE) from error
    runner = Runner(find, settings.policy, end_process=end)
    app = _app(settings, runner, host, allow_unauthenticated=allow_unauthenticated)
    listener = _listen(host, port)
    providers = _providers()
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        root_path=root_path,
        log_level="warning",
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    directory = open_state(settings.state_dir)
    shown_host = f"[{host}]" if ":" in host else host
    address = f"http://{shown_host}:{listener.getsockname()[1]}"
    over = threading.Event()
    shown = threading.Thread(
        target=_show,
        args=(server, runner, address, directory, over),
        name="compilespan-progress",
        daemon=True,
    )
    shown.start()
    # uvicorn drains on a signal and then raises it again; there is a flush to do before the end.
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: None)
    # What a terminal that closes sends; nohup ignores it.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    server.run(sockets=[listener])
    over.set()
    shown.join(1.0)
    if (journal := get_ledger().journal) is not None:
        journal.close("failed" if code else "shutdown")
    providers.shutdown(_FLUSH_S)
    discard(directory)
    sys.stdout.flush()
    sys.stderr.flush()
    # A compile in a daemon thread would be torn down in the middle of C++ by a normal exit.
    os._exit(code)


def _show(
    server: uvicorn.Server, runner: Runner, address: str, directory: Path, over: threading.Event
) -> None:
    """Show what happens once the port is served: what draws it takes a while to import."""
    while not server.started and not over.wait(_LOOK_AGAIN_S):
        pass
    from rich.console import Console  # noqa: PLC0415  # see above

    from compilespan_service.cli.progress import Progress  # noqa: PLC0415

    Progress(Console(highlight=False), runner, address, directory, over).follow()


def _app(settings: Settings, runner: Runner, host: str, *, allow_unauthenticated: bool) -> FastAPI:
    try:
        has_token = token_digest(settings.token, settings.token_file) is not None
    except TokenError as error:
        typer.echo(f"compilespan: {error}", err=True)
        raise typer.Exit(EXIT_USAGE) from error
    if not (has_token or allow_unauthenticated or is_loopback(host)):
        typer.echo(
            f"compilespan: {host} can be reached from other machines and there is no token: "
            "whoever gets there could start warmups. Set COMPILESPAN_TOKEN or "
            "COMPILESPAN_TOKEN_FILE, or say --allow-unauthenticated.",
            err=True,
        )
        raise typer.Exit(EXIT_USAGE)
    return create_app(settings, runner=runner, bound=host, changes_allowed=True)


def _providers() -> Providers:
    try:
        return configure("compilespan")
    except ValueError as error:
        typer.echo(f"compilespan: {error}", err=True)
        raise typer.Exit(EXIT_USAGE) from error


def _settings(**given: Any) -> Settings:
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise typer.BadParameter(first["msg"], param_hint=f"--{option}") from error


def _listen(host: str, port: int) -> socket.socket:
    """Open the port at once: whoever asks meanwhile waits in its queue, not in an error."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named, asyncio answers at once (TCP_NODELAY); else after 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        why = {
            errno.EADDRINUSE: "something listens there already; choose another with --port",
            errno.EACCES: "that port is reserved; choose one above 1023 with --port",
        }.get(error.errno or 0, "choose an address of this machine with --host")
        typer.echo(
            f"compilespan: cannot listen on {host}:{port} ({error.strerror}): {why}",
            err=True,
        )
        raise typer.Exit(EXIT_USAGE) from error
    return listener
