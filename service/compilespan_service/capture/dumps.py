"""Torch's own log of each compile (``TORCH_TRACE``), and tlparse's pages about it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from compilespan_service.capture.capture import Dump

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from compilespan import CompileRecord

HINT = "for pages instead of logs: pip install tlparse"
_PID = re.compile(rb"^[A-Z]\d{4} [\d:.]+ (\d+) ")
_LIMIT_S = 60.0
"""Seconds for the pages of all logs together; after that the plain logs are linked."""


class Dumps:
    """A directory of logs; tlparse, if it is installed, makes pages of each."""

    def __init__(self, directory: Path) -> None:
        """Use the directory that the program gets as ``TORCH_TRACE``."""
        self.directory = directory.resolve()
        self._before = set(self._logs())
        self._until_s = 0.0

    @property
    def has_tlparse(self) -> bool:
        """Whether tlparse is installed."""
        return _tlparse() is not None

    def of(self, records: Iterable[CompileRecord]) -> list[Dump]:
        """Return the page or log of each compile.

        Args:
            records: Records of a program that has ended.
        """
        self._until_s = time.monotonic() + _LIMIT_S
        pages = {_pid(log): log for log in self._logs() if log not in self._before}
        with suppress(KeyboardInterrupt):  # Ctrl+C leaves the plain logs
            pages = {pid: self._pages(log) for pid, log in pages.items()}
        found = (
            (record.pid, compile_id, pages[record.pid])
            for record in records
            if record.pid in pages
            for compile_id in record.compile_ids
        )
        return [Dump(pid, each, str(_page(where, each))) for pid, each, where in found]

    def _logs(self) -> list[Path]:
        return sorted(self.directory.glob("dedicated_log_torch_trace_*.log"))

    def _pages(self, log: Path) -> Path:
        """Return the directory of tlparse's pages; the log itself if there are none."""
        program = _tlparse()
        left_s = self._until_s - time.monotonic()
        if program is None or left_s <= 0:
            return log
        pages = log.with_suffix("")
        command = [program, str(log), "-o", str(pages), "--no-browser", "--overwrite"]
        try:
            subprocess.run(command, capture_output=True, timeout=left_s, check=True)  # noqa: S603
        except (OSError, subprocess.SubprocessError):
            return log
        return pages


def _page(where: Path, compile_id: str) -> Path:
    """Return the page of a compile: the last summary of its last attempt."""
    if where.is_file():
        return where
    attempts = sorted(where.glob(f"-_{compile_id.replace('/', '_')}_*"), key=_attempt)
    if not attempts:
        return where / "index.html"
    summaries: Sequence[Path] = sorted(attempts[-1].glob("compilation_metrics_*.html"))
    return summaries[-1] if summaries else attempts[-1]


def _attempt(directory: Path) -> int:
    number = directory.name.rpartition("_")[2]
    return int(number) if number.isdecimal() else 0


def _pid(log: Path) -> int | None:
    """Return the id of the process that wrote a log, from its first line."""
    try:
        with log.open("rb") as file:
            found = _PID.match(file.readline(4096))
    except OSError:
        return None
    return int(found[1]) if found is not None else None


def _tlparse() -> str | None:
    """Return the path of tlparse: next to this Python, otherwise on ``PATH``."""
    return shutil.which("tlparse", path=str(Path(sys.executable).parent)) or shutil.which("tlparse")
