"""The Python examples of README and docs run, each in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = {
    f"{page.name}-{number}": code
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if page.name != "upstream.md"  # tests/test_upstream.py
    for number, code in enumerate(
        re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    )
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs(example):
    done = subprocess.run(
        [sys.executable, "-c", EXAMPLES[example]],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_there_are_examples():
    pages = {name.partition("-")[0] for name in EXAMPLES}
    assert pages >= {"README.md", "library.md", "service.md"}


def test_the_readme_is_short():
    """A stranger reads it in minutes; details belong into docs."""
    assert len((ROOT / "README.md").read_text("utf-8").split()) <= 900
