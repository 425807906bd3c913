"""Writes the findings of docs/runbook.md: ``python docs/generate_runbook.py``.

Alerts are written by hand above the marker; below it follows the page of each finding.
"""

from __future__ import annotations

import re
from pathlib import Path

from compilespan.findings.explained import codes, explained

TARGET = Path(__file__).parent / "runbook.md"
MARKER = "<!-- Below: generated from instrumentation/compilespan/findings/pages. -->\n"


def text() -> str:
    """Return the page: its hand-written part, and a heading for each finding."""
    by_hand, _, _ = TARGET.read_text("utf-8").partition(MARKER)
    return by_hand + MARKER + "".join(_finding(code) for code in codes())


def _finding(code: str) -> str:
    heading, _, page = str(explained(code)).partition("\n")
    heading = heading.removeprefix("# ")
    for title, bold in (("What it is", "Means"), ("What to do", "Do")):
        page = re.sub(rf"## {title}\n(?=-)", f"**{bold}**:\n\n", page)
        page = re.sub(rf"## {title}\n", f"**{bold}**: ", page)
    return f"\n## {heading}\n{page.strip()}\n"


if __name__ == "__main__":
    TARGET.write_text(text(), "utf-8")
