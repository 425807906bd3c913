"""When a server is ready, end the span of its start; report its parts and earlier deaths."""

from __future__ import annotations

import atexit
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from compilespan.journal.directory import StateDirectory
from compilespan.journal.writer import open_journal
from compilespan.ledger.ledger import get_ledger, mark_ready
from compilespan.process import instance_id
from compilespan.process.faults import contained
from compilespan.telemetry.telemetry import active_telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compilespan.ledger.start import Start
    from compilespan.telemetry.startup import Startup

_FLUSH_S = 3.0
_WRITTEN_S = 0.5
"""Seconds until the journals hold what other processes have just recorded."""


class Starting:
    """Declares a process ready, and ends the ``startup`` span in the first one."""

    def __init__(self, startup: Startup | None) -> None:
        """Take the start; ``None`` if this process did not open it."""
        self._startup = startup

    @contextmanager
    def block(self) -> Iterator[None]:
        """Run a block that starts the engines; the process is ready at its end."""
        try:
            yield
        except BaseException as error:
            startup, self._startup = self._startup, None
            if startup is not None:
                with contained("end the span of the start"):
                    ends_as("failed")
                    startup.end("failed", f"{type(error).__name__}: {error}")
                _flush()
            raise
        with contained("record that the engines are ready"):
            open_journal()  # other processes read there that this one is ready
            ends_as("exit")  # also if an earlier engine failed
            mark_ready()
        startup, self._startup = self._startup, None  # such blocks may be nested
        if startup is not None:
            # Only now, after the children were started: if a thread imports or exports during a
            # fork, the child inherits locks that nobody releases.
            threading.Thread(
                target=_report, args=(startup,), name="compilespan-start", daemon=True
            ).start()
            atexit.register(_flush)  # in case the program ends at once


def ends_as(reason: str) -> None:
    """Set the exit reason that the journal records when the process ends by itself."""
    if (journal := get_ledger().journal) is not None:
        journal.end_reason = reason


def _report(startup: Startup) -> None:
    """Export the start with the work of all its processes, and report earlier deaths."""
    with contained("report the parts of the start"):
        startup.report_parts(_whole_start())
    _flush()
    with contained("report starts that died"):
        _report_deaths()
    _flush()


def _flush() -> None:
    with contained("flush"):
        active_telemetry().flush(_FLUSH_S)


def _whole_start() -> Start:
    ledger = get_ledger()
    if ledger.journal is None:
        return ledger.start()
    time.sleep(_WRITTEN_S)
    processes = StateDirectory(ledger.journal.directory).processes(instance_id())
    own = ledger.journal.path
    return ledger.start(process.doer for process in processes if process.path != own)


def _report_deaths() -> None:
    if (journal := get_ledger().journal) is None or "opentelemetry.sdk" not in sys.modules:
        return
    from compilespan.sdk.deaths import report_deaths  # noqa: PLC0415  # needs the SDK

    report_deaths(journal.directory)
