"""Findings for people: most expensive first, with what to do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from compilespan_service.cli.tables import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from compilespan.findings.finding import Finding

MAX_SHOWN = 10
_INDENT = " " * 11


def print_findings(console: Console, found: Sequence[Finding]) -> None:
    """Print what cost the most; nothing is cut without saying how much."""
    if not found:
        return
    console.print(Text("What cost the most", style="bold"))
    for finding in found[:MAX_SHOWN]:
        lost = duration(finding.seconds) if finding.seconds else "–"
        style = "red" if finding.is_serious else ""
        where = f"  {place(finding)}" if finding.file else ""
        console.print(
            Text.assemble((f"{lost:>9}  ", style), finding.what, (where, "dim")), soft_wrap=True
        )
        for line in (finding.evidence, f"→ {finding.fix} ({finding.code})"):
            console.print(Text(_INDENT + line), soft_wrap=True)
        if finding.link:
            console.print(Text(_INDENT + finding.link, style="dim"), soft_wrap=True)
    if (more := len(found) - MAX_SHOWN) > 0:
        console.print(f"{_INDENT}and {more} more; --json FILE has all")
    console.print(f"{_INDENT}compilespan explain {found[0].code} says more", style="dim")


def place(finding: Finding) -> str:
    """Return file and line, relative to the working directory if it lies below it."""
    path = Path(finding.file or "")
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = Path(os.path.relpath(path))
    return f"{path}:{finding.line}" if finding.line else str(path)
