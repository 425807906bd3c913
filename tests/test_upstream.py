"""The programs of docs/upstream.md: each finding still exists in the installed torch.

If one of these fails, the finding is repaired: remove it from the page, and the workaround with it.
tests/vllm has the test of vLLM's.
"""

from __future__ import annotations

import sys

import pytest

from upstream import PROGRAMS, run

SHOWN = {
    "Dynamo rewinds `random`, so OpenTelemetry repeats ids": "2 ids, 1 distinct\n",
    "A first compile is logged as a recompile of another module": "1 recompile logged\n",
}


@pytest.mark.parametrize("heading", SHOWN)
def test_a_finding_still_exists(heading, tmp_path):
    done = run(sys.executable, heading, tmp_path)
    assert done.stdout == SHOWN[heading], done.stderr


def test_every_finding_has_a_test():
    """A program that imports vLLM is run by tests/vllm/test_upstream.py."""
    assert {name for name, program in PROGRAMS.items() if "from vllm" not in program} == set(SHOWN)
    assert len(PROGRAMS) == 3
