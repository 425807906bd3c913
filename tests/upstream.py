"""The programs of docs/upstream.md by heading, and how tests run them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs/upstream.md"
PROGRAMS = dict(
    re.findall(
        r"^## (.*?)\n.*?```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
)


def run(python, heading, directory, **options):
    """Return the process that ran the program under a heading, from a file in this directory."""
    file = directory / "program.py"
    file.write_text(PROGRAMS[heading])
    return subprocess.run(
        [python, file], capture_output=True, text=True, timeout=280, check=False, **options
    )
