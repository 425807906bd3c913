"""``compilespan run PROGRAM``: run an unchanged program and show what it compiled."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, TextIO

import typer

from compilespan.cache.shared import WAIT_S
from compilespan.process import INSTANCE_ID
from compilespan_service.capture import document
from compilespan_service.capture.capture import Capture
from compilespan_service.capture.dumps import Dumps
from compilespan_service.capture.taking import Taking
from compilespan_service.capture.unknown import Strangers
from compilespan_service.cli.options import (
    CacheMode,
    CacheUnsigned,
    CacheUrl,
    CacheWait,
    use_cache,
)
from compilespan_service.cli.paths import TraceFile, check, write
from compilespan_service.cli.statusline import status_line
from compilespan_service.reporters import perfetto, terminal
from compilespan_service.reporters.characters import console_on
from compilespan_service.reporters.now import now_line

_FORWARDED = {signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT, signal.SIGUSR2}
_POLL_S = 0.25
_LOOK_EVERY_S = 1.0
_FROM_KERNEL = 0x80  # SI_KERNEL: the terminal's Ctrl+C reaches the program without our help
_REST = "-o FILE writes all"
EXIT_NOT_FOUND, EXIT_NOT_EXECUTABLE = 127, 126


def run(
    command: Annotated[list[str], typer.Argument(metavar="PROGRAM [ARGUMENT]...")],
    json_files: Annotated[
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            "--json",
            metavar="FILE",
            help="Write the whole run as JSON, for `compilespan report`.",
        ),
    ] = None,
    trace_file: TraceFile = None,
    dump_directory: Annotated[
        Path | None,
        typer.Option(
            "--tlparse",
            metavar="DIR",
            help="Directory for torch's own log of each compile (TORCH_TRACE), and for pages of "
            "tlparse if it is installed.",
        ),
    ] = None,
    cache_url: CacheUrl = None,
    cache_mode: CacheMode = "readwrite",
    cache_wait: CacheWait = WAIT_S,
    cache_unsigned: CacheUnsigned = False,
) -> None:
    """Run a program and show what torch compiled in it, over all its processes.

    OpenTelemetry need not be set up. Options after the program belong to the program; its output,
    exit code and signals are unchanged. The table is printed to standard error when the program
    ends, and whenever this command receives SIGUSR1.
    """
    if "-" in map(str, [*(json_files or []), trace_file]):
        typer.echo(
            "compilespan run: standard output belongs to the program: give a file name", err=True
        )
        raise typer.Exit(2)
    json_files = json_files or []
    trace_files = [trace_file] if trace_file is not None else []
    outputs = [*(("-o", path) for path in json_files), *(("--trace", path) for path in trace_files)]
    check("run", outputs, dump_directory)
    use_cache("run", cache_url, cache_mode, wait_s=cache_wait, unsigned=cache_unsigned)
    state = _state_directory()
    running = _Run(command, state, dump_directory)
    try:
        code, capture = running.run()
    finally:
        shutil.rmtree(state, ignore_errors=True)
    if capture is not None:
        for path in json_files:
            write("run", path, document.text(capture))
        for path in trace_files:
            write("run", path, perfetto.report(capture))
        running.report(capture)
    if code < 0:  # the program died of a signal: do the same, as a shell expects
        with contextlib.suppress(OSError):  # SIGKILL has no other disposition
            signal.signal(-code, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-code})
        os.kill(os.getpid(), -code)
    sys.exit(code)


def _state_directory() -> Path:
    """Return a new directory for journals; children of root may run as other users."""
    state = Path(tempfile.mkdtemp(prefix="compilespan-run-"))
    if os.geteuid() == 0:
        state.chmod(0o1733)  # users write their own files, and cannot list or read those of others
    return state


class _Run:
    """One program while it runs."""

    def __init__(self, command: Sequence[str], state: Path, dumps: Path | None) -> None:
        self._command = command
        self._instance = secrets.token_hex(8)
        self._state = state
        self._dumps = Dumps(dumps) if dumps is not None else None
        self._strangers = Strangers()
        # Standard error may be closed; then nothing is printed.
        self._stream: TextIO = sys.stderr or io.StringIO()
        self._console = console_on(self._stream)

    def run(self) -> tuple[int, Capture | None]:
        """Start the program and follow it until it ends.

        Returns:
            Its exit code, negative for a signal, and its capture; ``None`` if it could not be
            started.
        """
        # If SIGCHLD is inherited as ignored, the program's exit code is lost.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        waited_for = {*_FORWARDED, signal.SIGUSR1, signal.SIGCHLD}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
        taking = Taking(
            self._state,
            self._instance,
            self._command,
            strangers=self._strangers,
            dumps=self._dumps,
        )
        try:
            child = subprocess.Popen(  # noqa: S603  # the user's own command
                self._command,
                env=self._environment(os.environ),
                preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before),  # noqa: PLW1509
            )
        except FileNotFoundError:
            return self._cannot_start("no such program", EXIT_NOT_FOUND)
        except OSError as error:
            return self._cannot_start(error.strerror or str(error), EXIT_NOT_EXECUTABLE)
        self._follow(child, taking, waited_for)
        # From here on signals may end this command; earlier ones were meant for the program.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        while signal.sigtimedwait(waited_for, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if self._dumps is not None and self._dumps.has_tlparse:
            self._say("compilespan: tlparse is making pages; Ctrl+C skips this")
        return child.returncode, taking.take(child.returncode)

    def report(self, capture: Capture) -> None:
        """Print the table; ignore errors if nobody reads it."""
        with contextlib.suppress(OSError, ValueError, SystemExit):  # rich exits for a broken pipe
            terminal.report(capture, self._console, _REST)

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            typer.echo(text, file=self._stream)

    def _follow(
        self, child: subprocess.Popen[bytes], taking: Taking, waited_for: set[signal.Signals]
    ) -> None:
        line = status_line(self._stream)
        looked_s = 0.0
        while child.poll() is None:
            line.show(now_line(taking.in_progress()))
            if time.monotonic() - looked_s >= _LOOK_EVERY_S:
                looked_s = time.monotonic()
                self._strangers.look(child.pid)
            got = signal.sigtimedwait(waited_for, _POLL_S)
            if got is not None and got.si_signo == signal.SIGUSR1:
                line.clear()
                self.report(taking.take())
            elif got is not None and got.si_signo in _FORWARDED and got.si_code != _FROM_KERNEL:
                child.send_signal(got.si_signo)
        line.clear()

    def _environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        bootstrap = str(files("compilespan") / "bootstrap")
        path = [bootstrap, *filter(None, [environ.get("PYTHONPATH")])]
        trace = {"TORCH_TRACE": str(self._dumps.directory)} if self._dumps else {}
        if trace and environ.get("TORCH_TRACE"):
            self._say("compilespan run: --tlparse replaces TORCH_TRACE of the environment")
        return {
            **environ,
            **trace,
            "PYTHONPATH": os.pathsep.join(path),
            "COMPILESPAN_STATE_DIR": str(self._state),
            INSTANCE_ID: self._instance,
        }

    def _cannot_start(self, why: str, code: int) -> tuple[int, None]:
        typer.echo(f"compilespan run: {self._command[0]}: {why}", err=True)
        return code, None
