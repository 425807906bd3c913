"""Lines that other processes append to the journal of a dead process."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from compilespan.journal.files import open_to_read
from compilespan.journal.locks import lock, set_times
from compilespan.journal.summary import LINE_TYPE, Summary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compilespan.journal.reader import ProcessJournal


def sum_up(process: ProcessJournal) -> Summary | None:
    """Append a summary to the journal of a dead process, read completely before, and return it.

    ``None`` if the journal does not identify its process. A failed write is ignored, because
    another user's directory may be read-only.
    """
    if not process.process:
        return None
    summary = Summary.of(process.snapshot())
    with suppress(OSError):
        append(process, LINE_TYPE, summary.line())
    return summary


def append(
    process: ProcessJournal, line_type: str, values: Mapping[str, Any] | None = None
) -> bool:
    """Append a line to a dead process's journal; ``False`` if another process did or is doing so.

    The file's modification time is kept: it shows how long the process lived.

    Raises:
        OSError: The file cannot be written.
    """
    with open_to_read(process.path, os.O_WRONLY | os.O_APPEND) as file:
        stat = os.fstat(file.fileno())
        if lock(file) is False:
            return False
        process.refresh()
        if line_type in process.added:
            return False
        # Begin a new line: the process may have died in the middle of one.
        line = json.dumps({"type": line_type, **(values or {})}, separators=(",", ":"))
        file.write(b"\n" + line.encode() + b"\n")
        file.flush()
        set_times(file.fileno(), process.path, stat.st_atime_ns, stat.st_mtime_ns)
    return True
