"""The ledger's append-only file: what survives the process, and what other processes read.

With a state directory each process writes JSON lines to a file of its own: who it is, each
compile as it begins and as it ends, when it was ready, what its warmup jobs came to. Writing
happens in a thread of its own, so that a full or hanging disk costs telemetry and nothing else.
While something compiles the file's modification time is renewed each second: after a kill it
tells until when the compile went on. `compilespan.starts` reads these files.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.metadata
import io
import json
import logging
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compilespan import propagation
from compilespan._version import __version__
from compilespan.entries import Ended, Entry, Ready
from compilespan.flushing import at_end_of_child
from compilespan.ledger import CompileLedger, get_ledger
from compilespan.process import device
from compilespan.records import CompileBegun

try:
    import fcntl
except ImportError:  # Windows: whether a writer lives is then told by its last line only
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compilespan.subscription import Subscription

STATE_DIR = "COMPILESPAN_STATE_DIR"
SUFFIX = ".jsonl"
FORMAT = 1
MAX_BYTES = 64 * 1024 * 1024
"""A file ends here with a line that says so; readers then call the totals incomplete."""
MAX_FILES = 256
"""So many files a directory keeps; the oldest whose writers are gone are pruned."""
BEAT_S = 1.0

_logger = logging.getLogger("compilespan")


class Journal:
    """The open file of this process."""

    def __init__(self, directory: Path, ledger: CompileLedger) -> None:
        """Create the file and begin to write.

        Args:
            directory: Made where it does not exist.
            ledger: Whose entries are written.

        Raises:
            OSError: The directory cannot be made, or not be written.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._ledger = ledger
        self._graphs: dict[int, int] = {}
        self._dropped: dict[str, int] = {}
        self._full = False
        self._complained = False
        started = time.strftime("%Y%m%dT%H%M%S", time.gmtime(ledger.since_ns / 1e9))
        instance = propagation.instance_id()
        self.path = directory / f"{started}-{instance}-{os.getpid()}{SUFFIX}"
        self._file: io.FileIO | None = io.FileIO(self.path, "ab")
        locked(self._file)
        self._write("process", _process(ledger, instance))
        for begun in ledger.in_progress():
            self._entry(begun)
        self._subscription: Subscription[Entry | tuple[str, Mapping[str, Any]]] = ledger.watch(
            self._entry, signal="journal", idle=self._beat
        )

    def note(self, line_type: str, values: Mapping[str, Any]) -> None:
        """Write a line of another type, e.g. ``job``. Does not wait."""
        if not self._subscription.put((line_type, dict(values))):
            self._ledger.note_dropped("journal")

    def close(self, reason: str, timeout_s: float = 2.0) -> None:
        """Write what is queued and that this process ends, and why. Bounded by ``timeout_s``."""
        if self._file is None:
            return
        self.note("exit", {"reason": reason, "time_ns": time.time_ns()})
        self._ledger.unwatch(self._subscription, timeout_s)
        self.abandon()

    def flush(self, timeout_s: float = 2.0) -> bool:
        """Wait until what was recorded up to now is written; ``True`` if it is."""
        return self._subscription.drain(timeout_s)

    def abandon(self) -> None:
        """Close the file without a word: in a forked child it is the parent's."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _entry(self, entry: Entry | tuple[str, Mapping[str, Any]]) -> None:
        if isinstance(entry, CompileBegun):
            self._write(
                "begin",
                {
                    "key": entry.key,
                    "name": entry.name,
                    "is_encoder": entry.is_encoder,
                    "start_ns": entry.start_ns,
                },
            )
        elif isinstance(entry, Ended):
            self._graphs.pop(entry.key, None)
            record = entry.record.to_json() if entry.record is not None else None
            self._write("end", {"key": entry.key, "record": record})
        elif isinstance(entry, Ready):
            self._write("ready", {"time_ns": entry.time_ns, "after_s": entry.after_s})
        else:
            self._write(*entry)

    def _beat(self) -> float | None:
        """Tell that what compiles goes on compiling; returns when to be called again."""
        dropped = self._ledger.dropped
        if dropped != self._dropped and not self._full and self._file is not None:
            self._dropped = dropped
            for signal, count in dropped.items():
                self._write("dropped", {"signal": signal, "count": count})
        active = self._ledger.in_progress()
        for begun in active:
            if begun.graphs != self._graphs.get(begun.key, 0):
                self._graphs[begun.key] = begun.graphs
                self._write("progress", {"key": begun.key, "graphs": begun.graphs})
        if active and self._file is not None:
            with contextlib.suppress(OSError):
                os.utime(self._file.fileno())
        return BEAT_S if active else None

    def _write(self, line_type: str, values: Mapping[str, Any]) -> None:
        file = self._file
        if file is None or self._full:
            self._ledger.note_dropped("journal")
            return
        line = json.dumps({"type": line_type, **values}, separators=(",", ":"), default=str)
        try:
            if file.tell() + len(line) > MAX_BYTES:
                self._full = True
                line = '{"type":"truncated"}'
            # One write for one line: a reader sees a torn line at most at the end.
            file.write(line.encode() + b"\n")
        except OSError as error:
            self._ledger.note_dropped("journal")
            if not self._complained:
                self._complained = True
                _logger.warning(
                    "compilespan: %s cannot be written (%s); totals are kept in memory only. "
                    "Free the disk, or choose another directory with %s.",
                    self.path,
                    error,
                    STATE_DIR,
                )


def open_journal(directory: Path | str | None = None) -> Journal | None:
    """Open this process's journal, unless it is open already.

    Args:
        directory: The state directory; that of ``COMPILESPAN_STATE_DIR`` where it is left out.

    Returns:
        The journal; ``None`` where no directory is named, or it cannot be written (which is
        logged: telemetry never harms the program).
    """
    ledger = get_ledger()
    if directory is not None:
        # Children find it there, spawned and forked ones alike.
        os.environ[STATE_DIR] = str(directory)
    named = os.environ.get(STATE_DIR)
    if named and ledger.journal is None:
        try:
            ledger.journal = Journal(Path(named), ledger)
            _close_at_exit(ledger.journal)
            prune(Path(named))
        except OSError as error:
            _logger.warning(
                "compilespan: no journal in %s (%s); totals are kept in memory only. "
                "Choose a directory that can be written with %s.",
                named,
                error,
                STATE_DIR,
            )
    return ledger.journal


def _close_at_exit(journal: Journal) -> None:
    """Write what is queued when the process ends by itself."""
    atexit.register(journal.close, "exit")
    at_end_of_child(functools.partial(journal.close, "exit"))


def locked(file: io.IOBase) -> bool:
    """Take the lock on a journal that tells that its process lives; ``False`` if another has it."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a filesystem without locks
            pass
    return True


def is_written(path: Path) -> bool:
    """Whether the process that writes this file still lives: it holds a lock on it."""
    if fcntl is None:
        return False
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def prune(directory: Path, keep: int = MAX_FILES) -> None:
    """Delete the oldest files beyond ``keep`` whose writers are gone."""
    for path in sorted(directory.glob(f"*{SUFFIX}"))[:-keep]:
        if not is_written(path):
            with contextlib.suppress(OSError):
                path.unlink()


def _process(ledger: CompileLedger, instance: str) -> dict[str, Any]:
    versions = {"python": platform.python_version(), "compilespan": __version__}
    for package in ("torch", "vllm", "transformers"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "format": FORMAT,
        "instance": instance,
        "pid": os.getpid(),
        "rank": os.environ.get("RANK"),
        "started_ns": ledger.since_ns,
        "versions": versions,
        "device": device(),
    }
