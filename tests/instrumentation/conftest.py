"""What compiles with inductor here does so in the cache that the session shares."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def _shared_cache(inductor_cache):
    return inductor_cache
