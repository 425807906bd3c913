"""Fixtures for all tests: a clean ledger, providers in memory, torch instrumented."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from opentelemetry.trace import INVALID_SPAN_CONTEXT

from compilespan import TorchCompileInstrumentor, get_ledger
from compilespan.process.imports import import_timer
from compilespan.telemetry.propagation import link_to_start
from compilespan.telemetry.telemetry import Telemetry, use_telemetry
from support import Exported

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark unit tests that start no process and do not need inductor: `make quick` runs them."""
    for item in items:
        is_unit = item.path.parent.name in ("instrumentation", "service")
        starts_processes = hasattr(getattr(item, "module", None), "subprocess")
        needs_inductor = "inductor_cache" in getattr(item, "fixturenames", ())
        if is_unit and not starts_processes and not needs_inductor:
            item.add_marker(pytest.mark.quick)


@pytest.fixture(autouse=True)
def clean_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test no configuration, an empty ledger and torch without instrumentation."""
    for name in list(os.environ):
        if name.startswith(("COMPILESPAN_", "OTEL_")) or name.lower() in (
            "traceparent",
            "tracestate",
        ):
            monkeypatch.delenv(name)
    # Otherwise the first test would draw an id and leave it in the environment for the others.
    monkeypatch.setenv("COMPILESPAN_INSTANCE_ID", "test-instance")
    get_ledger().renew()
    get_ledger()._missing.clear()
    get_ledger().readiness.before = "startup"
    yield
    if TorchCompileInstrumentor().is_instrumented_by_opentelemetry:
        TorchCompileInstrumentor().uninstrument()
    use_telemetry(None)
    link_to_start(INVALID_SPAN_CONTEXT)
    if (journal := get_ledger().journal) is not None:
        journal.close("test")
    get_ledger().renew()
    import_timer().end()
    if "torch._dynamo" in sys.modules:
        sys.modules["torch._dynamo"].reset()


@pytest.fixture(scope="session")
def inductor_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Point inductor, in this process and its children, at one directory.

    The tests of a session share it: a fresh one costs half a minute.
    """
    directory = tmp_path_factory.mktemp("inductor")
    before = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(directory)
    yield directory
    if before is None:
        del os.environ["TORCHINDUCTOR_CACHE_DIR"]
    else:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = before


@pytest.fixture
def exported() -> Exported:
    """Providers in memory that explicit monitors use."""
    exported = Exported.create()
    use_telemetry(Telemetry(**exported.providers))
    return exported


@pytest.fixture
def instrumented() -> Exported:
    """Providers in memory, and torch instrumented with them."""
    exported = Exported.create()
    TorchCompileInstrumentor().instrument(**exported.providers)
    return exported
