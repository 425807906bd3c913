"""Findings for people: most expensive first, with what to do."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.text import Text

from compilespan_service.cli.tables import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from compilespan.findings.finding import Finding

MAX_SHOWN = 10
_MAX_TEXT = 400
_WIDTH = 14
"""Of ``✕ 120 min 04 s``."""
_INDENT = _WIDTH + 2


def print_findings(console: Console, found: Sequence[Finding], rest: str) -> None:
    """Print what cost the most; nothing is cut without saying how much.

    Args:
        console: Where.
        found: In their order.
        rest: Where those are that are not printed.
    """
    if not found:
        return
    is_plain = not str(console.encoding).lower().startswith("utf")
    arrow, cross, none = ("->", "x", "-") if is_plain else ("→", "✕", "–")
    console.print(Text("What cost the most", style="bold"))
    for finding in found[:MAX_SHOWN]:
        lost = duration(finding.seconds) if finding.seconds else none
        if finding.is_serious:
            lost = f"{cross} {lost}"
        where = f"  {place(finding)}" if finding.file else ""
        console.print(
            Text.assemble(
                (f"{lost:>{_WIDTH}}  ", "red" if finding.is_serious else ""),
                printable(finding.what),
                (where, "dim"),
            ),
            soft_wrap=True,
        )
        _below(console, printable(finding.evidence))
        _below(console, f"{arrow} {printable(finding.fix)} ({finding.code})")
        if finding.link.startswith("https://"):
            _below(console, printable(finding.link), style="dim")
    if (more := len(found) - MAX_SHOWN) > 0:
        _below(console, f"and {more} more; {rest}")
    _below(console, "compilespan explain CODE says more of one", style="dim")


def printable(text: str) -> str:
    """Return a text of a program without what would move or colour the terminal, not too long."""
    clean = "".join(letter if letter.isprintable() else " " for letter in text)
    return clean if len(clean) <= _MAX_TEXT else f"{clean[: _MAX_TEXT - 3]}..."


def place(finding: Finding) -> str:
    """Return file and line, relative to the working directory if it lies below it."""
    path = Path(finding.file or "")
    with suppress(OSError):  # the directory may be gone
        if path.is_absolute() and path.is_relative_to(Path.cwd()):
            path = Path(os.path.relpath(path))
    return printable(f"{path}:{finding.line}" if finding.line else str(path))


def _below(console: Console, text: str, style: str = "") -> None:
    if console.is_terminal:
        console.print(Padding(Text(text, style=style), (0, 0, 0, _INDENT)))
    else:  # whoever reads a file finds each text in one line
        console.print(Text(" " * _INDENT + text, style=style), soft_wrap=True)
