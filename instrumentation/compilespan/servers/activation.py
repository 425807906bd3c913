"""Whether and how a process of a server takes part: the first opens the start, others join it."""

from __future__ import annotations

import atexit
import functools
import logging
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from compilespan.dynamo.graphs import GraphWatch
    from compilespan.servers.starting import Starting
    from compilespan.telemetry.telemetry import Telemetry

_ENDPOINTS = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
)
_WANTED = ("compilespan_service.vllm", "--otlp-traces-endpoint")
"""Arguments of a server that enable our endpoints, or the server's own traces."""
_FIRST = "COMPILESPAN_FIRST_PID"

_logger = logging.getLogger("compilespan")
_entered: dict[str, bool] = {}
"""Servers whose plugin was called in this process, and whether the process takes part."""


def enter(server: str, install_hooks: Callable[[], object]) -> None:
    """Let this process of a server take part, once, if anything is configured; never raise.

    Args:
        server: The server's name, for messages.
        install_hooks: Imports and patches what is needed.
    """
    if server in _entered:  # a forked worker inherits its parent's patches
        return
    _entered[server] = False
    try:
        if is_configured():
            install_hooks()
            _entered[server] = True
    except Exception:
        _logger.warning("compilespan: this %s process is not instrumented", server, exc_info=True)


def takes_part(server: str) -> bool:
    """Whether this process of a server was instrumented."""
    return _entered.get(server, False)


def is_configured() -> bool:
    """Whether records have a destination: an exporter, a state directory, or one of `_WANTED`."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return bool(os.environ.get("COMPILESPAN_STATE_DIR")) or _is_asked_for()
    if os.environ.get("OTEL_TRACES_EXPORTER", "none").strip().lower() not in ("", "none"):
        return True
    configured = ("COMPILESPAN_STATE_DIR", *_ENDPOINTS)
    return any(os.environ.get(name) for name in configured) or _is_asked_for()


def _is_asked_for() -> bool:
    return any(wanted in argument for argument in sys.argv for wanted in _WANTED)


def take_part(server: str) -> tuple[GraphWatch, Starting]:
    """Instrument torch in this process; the first process of a start also opens its span.

    Args:
        server: The server's name: ``service.name`` if the operator sets none.

    Returns:
        The graphs that are being compiled, and the object that declares the server ready.
    """
    # Imported here and below, so that a process without any configuration imports none of it.
    from compilespan.instrumentor import TorchCompileInstrumentor  # noqa: PLC0415
    from compilespan.ledger.ledger import get_ledger  # noqa: PLC0415
    from compilespan.servers.starting import Starting  # noqa: PLC0415
    from compilespan.telemetry.startup import Startup  # noqa: PLC0415
    from compilespan.telemetry.telemetry import use_telemetry  # noqa: PLC0415

    # All processes that the first one starts inherit this variable.
    is_first = not os.environ.get(_FIRST)
    os.environ.setdefault(_FIRST, str(os.getpid()))
    instrumentor = TorchCompileInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument(skip_dep_check=True)
    use_telemetry(functools.partial(_private_telemetry, server))
    ledger = get_ledger()
    # Compiles before the engine is ready belong to the server's profiling and warmup runs.
    ledger.readiness.before = "warmup"
    ledger.readiness.time_imports(server)
    startup: Startup | None = None
    _open_journal()  # what this process does is part of the start, even if it compiles nothing
    if is_first:
        startup = Startup()
        startup.begin(deferred=True)
        startup.hand_down()
    return instrumentor.graphs, Starting(startup)


def _open_journal() -> None:
    from compilespan.journal.directory import temporary_directory  # noqa: PLC0415  # see above
    from compilespan.journal.writer import open_journal  # noqa: PLC0415

    if not os.environ.get("COMPILESPAN_STATE_DIR"):
        directory = temporary_directory()
        os.environ["COMPILESPAN_STATE_DIR"] = str(directory)
        # Registered before the journal is opened, so that the journal is closed first.
        atexit.register(_discard, directory, os.getpid())
    open_journal()


def _discard(directory: Path, pid: int) -> None:
    from compilespan.journal.directory import discard  # noqa: PLC0415  # see above

    if os.getpid() == pid:  # a forked child that ends by itself also calls this
        discard(directory, with_children=True)


def _private_telemetry(server: str) -> Telemetry:
    """Make our own providers, after the fork, when the first compile needs them.

    The global ones belong to the server: vLLM sets them, and OpenTelemetry refuses a second set.
    """
    from compilespan.instrumentor import event_channel  # noqa: PLC0415
    from compilespan.telemetry.startup import startup_trace_id  # noqa: PLC0415
    from compilespan.telemetry.telemetry import Telemetry  # noqa: PLC0415

    try:
        from compilespan.sdk import configure  # noqa: PLC0415
    except ImportError:  # journals work without the SDK
        return Telemetry()
    providers = configure(server, set_global=False, startup_trace_id=startup_trace_id())
    return Telemetry(
        providers.tracer_provider,
        providers.meter_provider,
        providers.logger_provider,
        event_channel(None),
    )
