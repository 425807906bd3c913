"""A line at the bottom of the terminal while something compiles, as apt draws its progress.

The program's output scrolls in the rows above; when nothing compiles the terminal is as it was.
"""

from __future__ import annotations

import os
from typing import TextIO

_SAVE, _RESTORE = "\0337", "\0338"


class StatusLine:
    """Draws on a terminal; on anything else it does nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty() and os.environ.get("TERM") not in (None, "", "dumb")
        self._rows = 0

    def show(self, text: str | None) -> None:
        """Show ``text``; ``None`` gives the row back."""
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
            # Make room where the cursor is on the last row, then let only the rows above scroll.
            self._write(f"\n{_SAVE}\033[1;{rows - 1}r{_RESTORE}\033[1A")
        shown = text[: columns - 1]
        self._write(f"{_SAVE}\033[{rows};1H\033[2K\033[7m{shown}\033[0m{_RESTORE}")

    def clear(self) -> None:
        """Give the row back to the program."""
        if self._rows:
            self._write(f"{_SAVE}\033[{self._rows};1H\033[2K\033[r{_RESTORE}")
            self._rows = 0

    def _write(self, codes: str) -> None:
        try:
            self._stream.write(codes)
            self._stream.flush()
        except OSError:  # the terminal went away: the program goes on
            self._is_terminal = False
