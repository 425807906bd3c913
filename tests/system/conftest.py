"""System tests find their helpers beside them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def hold(tmp_path):
    """A file that holds up the compiles of some targets while it exists."""
    path = tmp_path / "hold"
    path.write_text("")
    return path
