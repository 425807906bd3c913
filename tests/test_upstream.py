"""The programs of docs/upstream.md: each finding still exists in the installed torch.

If one of these fails, the finding is repaired: remove it from the page, and the workaround with it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs/upstream.md"
PROGRAMS = re.findall(
    r"^## (.*?)\n.*?```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
)
SHOWN = ["2 ids, 1 distinct\n", "1 recompile logged\n"]


@pytest.mark.parametrize(
    ("program", "shown"),
    [(code, said) for (_, code), said in zip(PROGRAMS, SHOWN, strict=True)],
    ids=[heading for heading, _ in PROGRAMS],
)
def test_a_finding_still_exists(program, shown):
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == shown, done.stderr
