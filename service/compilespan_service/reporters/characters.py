"""Consoles that print only characters of their encoding, and no control characters."""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING, TextIO, cast

from rich.cells import cell_len
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.text import Text

_FILE_WIDTH = 120
_MAX_TEXT = 400
_ANY_WIDTH = 10_000
_PLAIN = str.maketrans({"·": "-", "–": "-", "→": "->", "✕": "x", "●": "*", "…": "...", "↻": "@"})


class _Plain(io.TextIOBase):
    """A stream that writes plain characters in place of those that its encoding lacks."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, text: str) -> int:
        plain = text.translate(_PLAIN).encode(self.encoding, "replace").decode(self.encoding)
        return self._stream.write(plain)

    def flush(self) -> None:
        self._stream.flush()


def console_on(stream: TextIO) -> Console:
    """Return a console as wide as its terminal; 120 columns in a file."""
    is_utf = str(stream.encoding or "utf-8").lower().replace("-", "").startswith("utf")
    return Console(
        file=stream if is_utf else cast("IO[str]", _Plain(stream)),
        highlight=False,
        width=None if stream.isatty() else _FILE_WIDTH,
    )


def printable(text: str, limit: int = _MAX_TEXT) -> str:
    """Return a text of a program without control characters, cut to ``limit`` characters."""
    clean = "".join(letter if letter.isprintable() else " " for letter in text)
    return clean if len(clean) <= limit else f"{clean[: limit - 3]}..."


def text_width(console: Console) -> int:
    """Return the maximum width of texts; in a file each text is one line."""
    return console.width if console.is_terminal else _ANY_WIDTH


def say(console: Console, text: Text) -> None:
    """Print a text: wrapped between words on a terminal, as one line in a file."""
    console.print(text, soft_wrap=not console.is_terminal)


def flowing(texts: Sequence[str], separator: str, width: int) -> str:
    """Join texts into lines that break only between texts; later lines are indented."""
    lines = [""]
    for text in texts:
        joined = f"{lines[-1]}{separator}{text}" if lines[-1].strip() else f"{lines[-1]}{text}"
        if cell_len(joined) + len(separator.rstrip()) > width and lines[-1].strip():
            lines[-1] += separator.rstrip()
            lines.append(f"  {text}")
        else:
            lines[-1] = joined
    return "\n".join(lines)


def listed(texts: Iterable[str], most: int) -> str:
    """Return the first ``most`` texts and the number of the others."""
    found = list(texts)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more
