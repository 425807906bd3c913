"""``compilespan run -- PROGRAM``: any program, unchanged, and what it compiled."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from compilespan.process import INSTANCE_ID
from compilespan_service.cli.report import Report
from compilespan_service.cli.statusline import StatusLine

_FORWARDED = {signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT, signal.SIGUSR2}
_POLL_S = 0.25
_FILE_WIDTH = 120
_FROM_KERNEL = 0x80  # SI_KERNEL: the terminal's Ctrl+C reaches the program without our help
EXIT_NOT_FOUND, EXIT_NOT_EXECUTABLE = 127, 126


def run(
    command: Annotated[
        list[str], typer.Argument(metavar="PROGRAM [ARGUMENT]...", help="After --, as in a shell.")
    ],
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all figures as JSON.")
    ] = None,
    trace_file: Annotated[
        Path | None,
        typer.Option("--trace", metavar="FILE", help="Write a trace for ui.perfetto.dev."),
    ] = None,
) -> None:
    """Run a program and show what torch compiled in it, over all its processes.

    No OpenTelemetry needs to be set up. The program's output, exit code and signals are its own;
    the table goes to standard error when it ends, and whenever this command gets SIGUSR1.
    """
    state = Path(tempfile.mkdtemp(prefix="compilespan-run-"))
    try:
        code = _Run(command, state, json_file, trace_file).run()
    finally:
        shutil.rmtree(state, ignore_errors=True)
    if code < 0:  # it died of a signal: so do we, as a shell expects
        with contextlib.suppress(OSError):  # SIGKILL has no other disposition
            signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
        os.kill(os.getpid(), -code)
    sys.exit(code)


class _Run:
    """One program while it runs."""

    def __init__(
        self, command: list[str], state: Path, json_file: Path | None, trace_file: Path | None
    ) -> None:
        self._command = command
        self._instance = secrets.token_hex(8)
        self._state = state
        self._json_file = json_file
        self._trace_file = trace_file
        width = None if sys.stderr.isatty() else _FILE_WIDTH
        self._console = Console(stderr=True, highlight=False, width=width)

    def run(self) -> int:
        """Start it, follow it, and report; returns its exit code, negative for a signal."""
        began_ns, began_s = time.time_ns(), time.monotonic()
        waited_for = {*_FORWARDED, signal.SIGUSR1, signal.SIGCHLD}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
        try:
            child = subprocess.Popen(  # noqa: S603  # running it is what we are for
                self._command,
                env=self._environment(os.environ),
                preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before),  # noqa: PLW1509
            )
        except FileNotFoundError:
            return self._cannot_start("there is no such program", EXIT_NOT_FOUND)
        except OSError as error:
            return self._cannot_start(error.strerror or str(error), EXIT_NOT_EXECUTABLE)
        report = Report(self._state, self._instance, began_ns)
        line = StatusLine(sys.stderr)
        while child.poll() is None:
            line.show(report.status())
            got = signal.sigtimedwait(waited_for, _POLL_S)
            if got is not None and got.si_signo == signal.SIGUSR1:
                line.clear()
                report.print(self._console, time.monotonic() - began_s)
            elif got is not None and got.si_signo in _FORWARDED and got.si_code != _FROM_KERNEL:
                child.send_signal(got.si_signo)
        line.clear()
        wall_s = time.monotonic() - began_s
        report.print(self._console, wall_s)
        self._write(report, child.returncode, wall_s)
        return child.returncode

    def _environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        bootstrap = str(files("compilespan") / "bootstrap")
        path = [bootstrap, *filter(None, [environ.get("PYTHONPATH")])]
        return {
            **environ,
            "PYTHONPATH": os.pathsep.join(path),
            "COMPILESPAN_STATE_DIR": str(self._state),
            INSTANCE_ID: self._instance,
        }

    def _cannot_start(self, why: str, code: int) -> int:
        typer.echo(f"compilespan run: {self._command[0]}: {why}", err=True)
        return code

    def _write(self, report: Report, exit_code: int, wall_s: float) -> None:
        if self._json_file is not None:
            self._save(self._json_file, report.json(exit_code, wall_s))
        if self._trace_file is not None:
            self._save(self._trace_file, report.trace())

    def _save(self, path: Path, text: str) -> None:
        try:
            path.write_text(text, "utf-8")
        except OSError as error:
            typer.echo(f"compilespan run: {path} cannot be written: {error}", err=True)
