"""Findings in the terminal, each with its fix."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from compilespan_service.reporters.characters import printable
from compilespan_service.reporters.words import (
    duration,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from compilespan.findings.finding import Finding

MAX_SHOWN = 10
_MAX_DUMPS = 3
_WIDTH = 14
"""Width of ``✕ 120 min 04 s``."""


def print_findings(
    console: Console,
    found: Sequence[Finding],
    rest: str,
    dumps: Mapping[tuple[int, str], str] | None = None,
) -> None:
    """Print what cost the most, and how many findings were left out.

    Args:
        console: Where to print.
        found: Findings in their order.
        rest: How to get the findings that are not printed.
        dumps: Paths of tlparse's pages or torch's logs, by process and compile id.
    """
    if not found:
        return
    console.print()
    console.print(Text("What cost the most", style="bold"))
    for finding in found[:MAX_SHOWN]:
        lost = duration(finding.seconds) if finding.seconds else "–"
        if finding.is_serious:
            lost = f"✕ {lost}"
        where = f"  {place(finding)}" if finding.file else ""
        what = Text.assemble(printable(finding.what), (where, "dim"))
        _beside(console, Text(lost, "red" if finding.is_serious else ""), what)
        _below(console, printable(finding.evidence))
        _below(console, f"→ {printable(finding.fix)} ({printable(finding.code)})")
        if finding.link.startswith("https://"):
            _below(console, printable(finding.link), style="dim")
        described = [
            (each, (dumps or {}).get((each.pid, each.compile_id))) for each in finding.compiles
        ]
        for each, path in [pair for pair in described if pair[1]][:_MAX_DUMPS]:
            _below(console, printable(f"{each.compile_id}: {path}"), style="dim")
    if (more := len(found) - MAX_SHOWN) > 0:
        _below(console, f"and {more} more; {rest}")
    _below(console, "compilespan explain CODE describes a finding", style="dim")


def place(finding: Finding) -> str:
    """Return file and line, relative to the working directory if it lies below it."""
    path = Path(finding.file or "")
    with suppress(OSError):  # the directory may be gone
        if path.is_absolute() and path.is_relative_to(Path.cwd()):
            path = Path(os.path.relpath(path))
    return printable(f"{path}:{finding.line}" if finding.line else str(path))


def _below(console: Console, text: str, style: str = "") -> None:
    _beside(console, Text(), Text(text, style=style))


def _beside(console: Console, lost: Text, text: Text) -> None:
    """Print seconds and a text; on a terminal the text has its own column."""
    if console.is_terminal:
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(width=_WIDTH, justify="right")
        row.add_column(overflow="fold")
        row.add_row(lost, text)
        console.print(row)
    else:
        lost.align("right", _WIDTH)
        console.print(Text.assemble(lost, "  ", text), soft_wrap=True)
