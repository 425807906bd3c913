"""The server behind ``compilespan serve``: port, service, progress and final flush."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn

import typer
import uvicorn
from pydantic import ValidationError

from compilespan import get_ledger
from compilespan_service.cli.opening import Opening
from compilespan_service.door.tokens import TokenError, configured_tokens, is_loopback
from compilespan_service.settings import PREFIX, Settings
from compilespan_service.warmups.spec import DEMO, SpecError, check_spec

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi import FastAPI

    from compilespan.sdk import Providers
    from compilespan_service.warmups.runner import Runner
    from compilespan_service.warmups.targets import Factory

EXIT_USAGE = 2
EXIT_WARMUP_FAILED = 3
_FLUSH_S = 4.0
_BACKLOG = 2048

_logger = logging.getLogger("compilespan_service")


def run_server(
    host: str, port: int, *, allow_unauthenticated: bool, root_path: str, **given: Any
) -> None:
    """Serve until a signal arrives, then flush and end the process.

    Args:
        host: Address to listen on.
        port: Port; 0 takes a free one.
        allow_unauthenticated: Listen beyond loopback even without a token.
        root_path: Path under which a proxy serves it; empty without a proxy.
        given: Settings of the command line; ``None`` leaves a setting to the environment.
    """
    settings = _settings(**given)
    try:
        check_spec(settings.factory or DEMO)
        has_token = bool(configured_tokens(settings.token, settings.token_file))
    except (SpecError, TokenError) as error:
        _refuse(str(error))
    if not (has_token or allow_unauthenticated or is_loopback(host)):
        _refuse(
            f"{host} can be reached from other machines and no token is set: "
            "anyone there could start warmups. Set COMPILESPAN_TOKEN or "
            "COMPILESPAN_TOKEN_FILE, or pass --allow-unauthenticated."
        )
    _Process(settings, host, _listen(host, port), root_path).run()


class _UsageError(Exception):
    """A setting in the environment is invalid; the message is one sentence."""


class _Process:
    """This process while it serves.

    The port opens first: the service is imported and created only once the port answers.
    """

    def __init__(
        self, settings: Settings, host: str, listener: socket.socket, root_path: str
    ) -> None:
        self._settings = settings
        self._host = host
        self._listener = listener
        shown_host = f"[{host}]" if ":" in host else host
        self._address = f"http://{shown_host}:{listener.getsockname()[1]}"
        self._code = 0
        self._over = threading.Event()
        self._shown: threading.Thread | None = None
        self._providers: Providers | None = None
        self._directory: Path | None = None
        config = uvicorn.Config(
            Opening(self._make, self._failed),
            host=host,
            port=listener.getsockname()[1],
            root_path=root_path,
            log_level="warning",
            timeout_graceful_shutdown=2,
            lifespan="on",
        )
        self._server = uvicorn.Server(config)

    def run(self) -> None:
        """Serve, and end the process."""
        # uvicorn drains on a signal and then raises it again, which must not prevent the flush.
        for ending in (signal.SIGTERM, signal.SIGINT):
            signal.signal(ending, self._stop)
        # A terminal sends SIGHUP when it closes; under nohup it is ignored.
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
        self._server.run(sockets=[self._listener])
        self._over.set()
        if self._shown is not None:
            self._shown.join(1.0)
        if (journal := get_ledger().journal) is not None:
            journal.close("failed" if self._code else "shutdown")
        if self._providers is not None:
            self._providers.shutdown(_FLUSH_S)
        if self._directory is not None:
            from compilespan.journal.directory import discard  # noqa: PLC0415  # see above

            discard(self._directory)
        sys.stdout.flush()
        sys.stderr.flush()
        # A compile in a daemon thread would be torn down in the middle of C++ by a normal exit.
        os._exit(self._code)

    def _stop(self, *_: object) -> None:
        """Handle a signal that arrives before uvicorn installs its handlers, or after it ran."""
        self._server.should_exit = True

    def _make(self) -> FastAPI:
        from compilespan.sdk import configure  # noqa: PLC0415  # see above
        from compilespan.telemetry.startup import startup_trace_id  # noqa: PLC0415
        from compilespan_service.app import create_app, factory_of  # noqa: PLC0415
        from compilespan_service.state import open_state  # noqa: PLC0415
        from compilespan_service.warmups.runner import Runner  # noqa: PLC0415

        def find() -> Factory:
            try:
                return factory_of(self._settings.factory or DEMO)
            except SpecError:
                self._end(EXIT_USAGE)
                raise

        try:
            self._providers = configure(startup_trace_id=startup_trace_id())
        except ValueError as error:
            raise _UsageError(str(error)) from error
        self._directory = open_state(self._settings.state_dir)
        runner = Runner(find, self._settings.policy, end_process=self._end)
        app = create_app(self._settings, runner=runner, bound=self._host, changes_allowed=True)
        self._shown = threading.Thread(
            target=self._show,
            args=(runner, self._directory),
            name="compilespan-progress",
            daemon=True,
        )
        self._shown.start()
        return app

    def _show(self, runner: Runner, directory: Path) -> None:
        from compilespan_service.cli.progress import Progress  # noqa: PLC0415  # takes a while
        from compilespan_service.reporters.characters import console_on  # noqa: PLC0415

        console = console_on(sys.stdout)
        Progress(console, runner, self._address, directory, self._over).follow()

    def _end(self, code: int = EXIT_WARMUP_FAILED) -> None:
        self._code = self._code or code
        self._server.should_exit = True

    def _failed(self, error: BaseException) -> None:
        """Report that the service cannot be created: a wrong setting, or a fault of ours."""
        if isinstance(error, _UsageError):
            typer.echo(f"compilespan: {error}", err=True)
            self._end(EXIT_USAGE)
        else:
            _logger.error("compilespan: the service cannot be started", exc_info=error)
            self._end(1)


def _refuse(why: str) -> NoReturn:
    typer.echo(f"compilespan: {why}", err=True)
    raise typer.Exit(EXIT_USAGE)


def _settings(**given: Any) -> Settings:
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        variable = PREFIX + str(first["loc"][0]).upper()
        _refuse(f"{variable} or its option: {first['msg']}")


def _listen(host: str, port: int) -> socket.socket:
    """Open the port at once: early requests wait in its queue instead of failing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only if the protocol is named; without it answers take 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except (TypeError, ValueError, OverflowError):  # invalid as a host name
        _refuse(f"cannot listen on {host!r}: it is not an address or a host name")
    except OSError as error:
        why = {
            errno.EADDRINUSE: "the port is in use; choose another one with --port",
            errno.EACCES: "that port is reserved; choose one above 1023 with --port",
        }.get(error.errno or 0, "choose an address of this machine with --host")
        _refuse(f"cannot listen on {host}:{port} ({error.strerror}): {why}")
    return listener
