"""What compiles with inductor here does so in the cache that the session shares."""

from __future__ import annotations

import pytest

from compilespan.cache import namespace
from support import headers


@pytest.fixture(scope="session", autouse=True)
def _shared_cache(inductor_cache):
    return inductor_cache


@pytest.fixture
def use(monkeypatch, tmp_path):
    """Return a function that makes this process one of a machine with compile caches of its own."""
    from torch._inductor import codecache

    monkeypatch.setattr(namespace, "instruction_set", lambda: "avx512")

    def machine(name):
        directory = tmp_path / name
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(directory))
        monkeypatch.setattr(codecache, "_HEADER_DIR", str(headers(directory)))
        return directory

    return machine
