"""A line at the bottom of the terminal while something compiles, as apt draws its progress.

The program's output scrolls in the rows above; when nothing compiles, the line is removed.
"""

from __future__ import annotations

import os
import time
from typing import Protocol, TextIO

from rich.cells import set_cell_size

_SAVE, _RESTORE = "\0337", "\0338"


HEARTBEAT_S = 30.0


class Status(Protocol):
    """Shows the current compile."""

    def show(self, text: str | None) -> None:
        """Show ``text``; ``None`` if there is nothing to show."""

    def clear(self) -> None:
        """Remove the line."""


def status_line(stream: TextIO) -> Status:
    """Return a line at the bottom of a terminal; for other streams a line every 30 seconds."""
    is_terminal = stream.isatty() and os.environ.get("TERM") not in (None, "", "dumb")
    return StatusLine(stream) if is_terminal else Heartbeat(stream)


class Heartbeat:
    """Writes a line every 30 seconds, so that a log is not silent while something compiles."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._said_s = time.monotonic()

    def show(self, text: str | None) -> None:
        """Write ``text``, if the last line was written long enough ago."""
        now_s = time.monotonic()
        if text is None or now_s - self._said_s < HEARTBEAT_S:
            return
        self._said_s = now_s
        try:
            self._stream.write(f"{text}\n")
            self._stream.flush()
        except OSError:  # the reader is gone; the program continues
            pass

    def clear(self) -> None:
        """Do nothing: a log has no line to remove."""


class StatusLine:
    """Draws on a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = True
        self._rows = 0

    def show(self, text: str | None) -> None:
        """Show ``text``; ``None`` removes the line."""
        if not self._is_terminal:
            return
        if text is None:
            self.clear()
            return
        try:
            columns, rows = os.get_terminal_size(self._stream.fileno())
        except OSError:
            return
        if rows < 3:  # noqa: PLR2004  # no room to scroll in
            return
        if rows != self._rows:
            self.clear()
            self._rows = rows
            # Make room if the cursor is on the last row, then let only the rows above scroll.
            self._write(f"\n{_SAVE}\033[1;{rows - 1}r{_RESTORE}\033[1A")
        shown = set_cell_size(text, columns - 2).rstrip()
        self._write(f"{_SAVE}\033[{rows};1H\033[2K\033[7m {shown}\033[0m{_RESTORE}")

    def clear(self) -> None:
        """Return the row to the program."""
        if self._rows:
            self._write(f"{_SAVE}\033[{self._rows};1H\033[2K\033[r{_RESTORE}")
            self._rows = 0

    def _write(self, codes: str) -> None:
        try:
            self._stream.write(codes)
            self._stream.flush()
        except OSError:  # the terminal is gone; the program continues
            self._is_terminal = False
