"""An inductor cache that the tests of a session share: a fresh one costs half a minute."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def inductor_cache(tmp_path_factory):
    """Point inductor, in this process and its children, at one directory."""
    directory = tmp_path_factory.mktemp("inductor")
    before = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(directory)
    yield directory
    if before is None:
        del os.environ["TORCHINDUCTOR_CACHE_DIR"]
    else:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = before
