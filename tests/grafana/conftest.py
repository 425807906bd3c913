"""The dashboards as they lie in the repository, and the npm packages that check them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent / "system")]


@pytest.fixture(scope="session")
def node():
    """Return a function that hands JSON to a script of this folder and returns its answer."""
    if shutil.which("npm") is None and os.environ.get("CI") != "true":
        pytest.skip("dashboards are type-checked with Node.js, which is not installed")
    subprocess.run(
        ["npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=HERE,
        check=True,
    )

    def run(script, question):
        done = subprocess.run(
            ["node", script],
            cwd=HERE,
            input=json.dumps(question),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
