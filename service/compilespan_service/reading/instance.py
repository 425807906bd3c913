"""The processes of this start: this one by its ledger, the others by their journals."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from compilespan import get_ledger
from compilespan.journal.directory import StateDirectory
from compilespan.process import instance_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from compilespan.journal.reader import Begun, ProcessJournal
    from compilespan.ledger.active import CompileBegun

_FLUSH_S = 0.5
_LOOK_EVERY_S = 0.5
_SERVERS = ("uvicorn", "gunicorn", "fastapi", "hypercorn")


class Instance:
    """What the workers of one server add up to; a `compilespan.telemetry.metrics.MetricsSource`."""

    def __init__(
        self,
        expected: int | None = None,
        *,
        all_starts: Callable[[], bool] = lambda: False,
    ) -> None:
        """Look nowhere yet.

        Args:
            expected: Server processes that belong to it, where the operator says so.
            all_starts: Whether other running servers of the state directory count too: those
                that this one warms over HTTP.
        """
        self._expected = expected or expected_processes()
        self._all_starts = all_starts
        self._lock = threading.RLock()
        self._state: StateDirectory | None = None
        self._looked_s = float("-inf")
        self._seen = (1, 1)

    def flush(self) -> None:
        """Write what this process recorded: who answers next, another worker too, tells of it."""
        if (journal := get_ledger().journal) is not None:
            journal.flush(_FLUSH_S)

    @contextmanager
    def reading(self) -> Iterator[list[ProcessJournal]]:
        """Yield the other processes, those that ended too, as they are while this block lasts.

        Requests read in threads of their own, and a journal that is read on changes under them.
        """
        with self._lock:
            yield self._others()

    def _others(self) -> list[ProcessJournal]:
        journal = get_ledger().journal
        if journal is None:
            return []
        if self._state is None or self._state.directory != journal.directory:
            self._state = StateDirectory(journal.directory)
        instances = {instance_id()}
        if self._all_starts():
            instances |= self._state.living_instances()
        found = self._state.processes(*instances)
        return [each for each in found if each.path != journal.path]

    @contextmanager
    def _servers(self) -> Iterator[list[ProcessJournal]]:
        """Yield the other processes that serve, too, and live."""
        with self.reading() as others:
            yield [
                each
                for each in others
                if each.startup is not None
                and each.process["instance"] == instance_id()
                and each.is_running
            ]

    @property
    def process_count(self) -> int:
        """How many processes serve: those there are, or more where more are to come."""
        return self._look()[1]

    def unready(self) -> str | None:
        """Return which of the other workers are not ready, in words; ``None`` where all are."""
        ready, count = self._look()
        return None if ready >= count else f"{ready} of {count} processes are ready"

    def _look(self) -> tuple[int, int]:
        """Count the workers that are ready, taking this one for it, and all.

        Once all are, it is looked up twice a second at most.
        """
        ready, count = self._seen
        if ready < count or time.monotonic() - self._looked_s > _LOOK_EVERY_S:
            with self._servers() as servers:
                ready = 1 + sum(each.ready_after_s is not None for each in servers)
                self._seen = ready, max(1 + len(servers), self._expected or 1)
            self._looked_s = time.monotonic()
        return self._seen

    def in_progress(self) -> Sequence[CompileBegun | Begun]:
        """Return what compiles now, in any of the processes."""
        with self.reading() as others:
            return [
                *get_ledger().active.now(),
                *(begun for each in others if each.is_running for begun in each.in_progress),
            ]

    @property
    def ready_after_s(self) -> float | None:
        """Seconds until the last of the workers was ready; ``None`` while one is not."""
        own = get_ledger().readiness.after_s
        with self._servers() as servers:
            others = [each.ready_after_s for each in servers]
        if own is None or len(others) + 1 < (self._expected or 1):
            return None
        return None if None in others else max([own, *filter(None, others)])

    @property
    def startup_s(self) -> Mapping[str, float]:
        """Seconds by startup phase, of the slowest worker each."""
        slowest = dict(get_ledger().readiness.parts_s)
        with self._servers() as servers:
            for each in servers:
                for phase, seconds in each.startup_s.items():
                    slowest[phase] = max(seconds, slowest.get(phase, 0.0))
        return slowest

    @property
    def dropped(self) -> Mapping[str, int]:
        """What was lost in all processes, by signal."""
        lost = dict(get_ledger().followers.dropped)
        with self.reading() as others:
            for each in others:
                for signal, count in each.dropped.items():
                    lost[signal] = lost.get(signal, 0) + count
        return lost


def expected_processes() -> int | None:
    """Return how many workers the server was told to have, ``None`` where nobody says.

    ``WEB_CONCURRENCY`` is what uvicorn and gunicorn read themselves; a worker of either also has
    its parent's command line.
    """
    told = os.environ.get("WEB_CONCURRENCY", "")
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    arguments = sys.argv[1:] if name.startswith(_SERVERS) else []
    for option, value in zip(arguments, [*arguments[1:], ""], strict=False):
        if option in ("--workers", "-w"):
            told = value
        elif option.startswith("--workers="):
            told = option.partition("=")[2]
    return int(told) if told.isdecimal() and int(told) > 0 else None
