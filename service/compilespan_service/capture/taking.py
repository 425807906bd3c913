"""Read a run from the journals of its processes, while it runs and after it has ended."""

from __future__ import annotations

import os
import platform
import time
from typing import TYPE_CHECKING, Any

from compilespan.findings.finders import findings
from compilespan.findings.finding import Evidence
from compilespan.journal.directory import StateDirectory
from compilespan.ledger.start import Start
from compilespan.ledger.totals import TotalsBuilder
from compilespan.process.limits import Throttled, cpus, memory_bytes
from compilespan.semconv import __version__
from compilespan_service.capture.capture import Capture, Interrupted, Parts
from compilespan_service.capture.confidential import without_secrets
from compilespan_service.capture.unknown import unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from compilespan.journal.reader import ProcessJournal
    from compilespan.journal.snapshot import Begun
    from compilespan_service.capture.dumps import Dumps
    from compilespan_service.capture.unknown import Strangers


class Taking:
    """Reads a state directory repeatedly; each line of a journal only once."""

    def __init__(
        self,
        state: Path,
        instance: str,
        command: Sequence[str],
        *,
        strangers: Strangers,
        dumps: Dumps | None = None,
    ) -> None:
        """Begin to measure: the program is about to start.

        Args:
            state: Directory in which its processes write journals.
            instance: Id that all its processes share.
            command: The program and its arguments.
            strangers: Its processes that may be unable to write there.
            dumps: Torch's own logs; ``None`` without ``--tlparse``.
        """
        self._state = state
        self._instance = instance
        self._directory = StateDirectory(state)
        self._command = list(without_secrets(command))
        self._strangers = strangers
        self._dumps = dumps
        self._throttled = Throttled()
        self._began_ns, self._began_s = time.time_ns(), time.monotonic()

    def in_progress(self) -> list[Begun]:
        """Return the compiles in progress, oldest first."""
        active = [
            begun
            for process in self._directory.processes(self._instance)
            if process.exit_reason is None
            for begun in process.in_progress
        ]
        return sorted(active, key=lambda begun: begun.start_ns)

    def take(self, exit_code: int | None = None) -> Capture:
        """Return the run as recorded so far.

        Args:
            exit_code: Exit code of the program; ``None`` while it runs.
        """
        wall_s = time.monotonic() - self._began_s
        processes = self._directory.processes(self._instance)
        records = sorted(
            (record for process in processes for record in process.records),
            key=lambda record: record.start_ns,
        )
        builder = TotalsBuilder()
        for process in processes:
            builder.update(process.builder)
        interrupted = list(_interrupted(processes))
        start = self._start(processes, wall_s)
        compiled = {record.pid for record in records} | {each.pid for each in interrupted}
        return Capture(
            command=self._command,
            began_ns=self._began_ns,
            wall_s=wall_s,
            exit_code=exit_code,
            host=_host(),
            versions=_versions(processes),
            processes=len(compiled),
            saw_torch=bool(processes) or any(self._state.glob("seen-*")),
            totals=builder.build(),
            start=Parts.of(start),
            findings=findings(
                Evidence(records, start if processes else None, throttled_s=self._throttled.spent_s)
            ),
            compiles=records,
            left_out=sum(each.record_count - len(each.records) for each in processes),
            interrupted=interrupted,
            unknown=unknown(
                self._state,
                processes,
                self._strangers.seen,
                instance=self._instance,
                is_over=exit_code is not None,
            ),
            dumps=self._dumps.of(records) if self._dumps and exit_code is not None else (),
        )

    def _start(self, processes: Iterable[ProcessJournal], wall_s: float) -> Start:
        """Return the start of the program: until it was ready, otherwise until now."""
        ready = [
            int(process.process["started_ns"]) + round(process.ready.after_s * 1e9)
            for process in processes
            if process.ready is not None
        ]
        end_ns = min(ready) if ready else self._began_ns + int(wall_s * 1e9)
        return Start.of(self._began_ns, end_ns, (process.doer for process in processes))


def _interrupted(processes: Iterable[ProcessJournal]) -> Iterable[Interrupted]:
    for process in processes:
        is_running = process.is_running
        for begun in process.in_progress:
            yield Interrupted(
                name=begun.name,
                component=begun.component,
                pid=process.process["pid"],
                start_ns=begun.start_ns,
                elapsed_s=begun.elapsed_s,
                graphs=begun.graphs,
                stage=begun.stage,
                is_running=is_running,
                peak_bytes=process.memory.peak_bytes if process.memory else None,
                limit_bytes=process.memory.limit_bytes if process.memory else None,
            )


def _host() -> Mapping[str, Any]:
    return {
        "name": platform.node(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpus": cpus(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": memory_bytes(),
    }


def _versions(processes: Iterable[ProcessJournal]) -> Mapping[str, str]:
    versions = {"compilespan": __version__}
    for process in processes:
        versions.update(process.process["versions"])
    return versions
