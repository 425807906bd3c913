"""Whether and as what a vLLM process takes part: the first opens the start, the others join it."""

from __future__ import annotations

import atexit
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from compilespan.telemetry.startup import Startup
    from compilespan.telemetry.telemetry import Telemetry
    from compilespan.vllm.server import MakeEndpoints

_ENDPOINTS = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
)
_FIRST = "COMPILESPAN_VLLM_FIRST_PID"
SERVICE_NAME = "vllm"


def is_configured() -> bool:
    """Whether anybody would see what is recorded: an endpoint, a state directory, a middleware."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return bool(os.environ.get("COMPILESPAN_STATE_DIR")) or _wants_routes()
    configured = ("COMPILESPAN_STATE_DIR", "OTEL_TRACES_EXPORTER", *_ENDPOINTS)
    return any(os.environ.get(name) for name in configured) or _wants_routes()


def _wants_routes() -> bool:
    """Whether this server was asked for our endpoints, or for vLLM's own traces."""
    return any(
        "compilespan_service.vllm" in argument or argument.startswith("--otlp-traces-endpoint")
        for argument in sys.argv
    )


class Process:
    """This process's part in a start of vLLM."""

    def __init__(self) -> None:
        """Find out whether it is the first; all that it starts find its mark in the environment."""
        self.is_first = not os.environ.get(_FIRST)
        os.environ.setdefault(_FIRST, str(os.getpid()))

    def take_part(self, make_endpoints: MakeEndpoints | None) -> None:
        """Instrument torch and vLLM; open the ``startup`` span in the first process."""
        from compilespan.instrumentor import TorchCompileInstrumentor  # noqa: PLC0415
        from compilespan.journal.directory import temporary_directory  # noqa: PLC0415
        from compilespan.journal.writer import open_journal  # noqa: PLC0415
        from compilespan.ledger.ledger import get_ledger  # noqa: PLC0415
        from compilespan.telemetry.prompt_export import flush_each_compile  # noqa: PLC0415
        from compilespan.telemetry.startup import Startup  # noqa: PLC0415
        from compilespan.telemetry.telemetry import use_telemetry  # noqa: PLC0415
        from compilespan.vllm.captures import Captures  # noqa: PLC0415
        from compilespan.vllm.engine import Engine  # noqa: PLC0415
        from compilespan.vllm.monitors import Monitors  # noqa: PLC0415
        from compilespan.vllm.ray import RayActors  # noqa: PLC0415
        from compilespan.vllm.server import Server  # noqa: PLC0415

        instrumentor = TorchCompileInstrumentor()
        if not instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.instrument(skip_dep_check=True)
        use_telemetry(_private_telemetry)
        ledger = get_ledger()
        # What compiles before the engine is ready is vLLM's profiling and warmup runs.
        ledger.readiness.before = "warmup"
        ledger.before_first_compile(flush_each_compile)
        startup: Startup | None = None
        if self.is_first:
            if not os.environ.get("COMPILESPAN_STATE_DIR"):
                directory = temporary_directory()
                os.environ["COMPILESPAN_STATE_DIR"] = str(directory)
                # Before the journal is opened: it is closed first.
                atexit.register(_discard, directory, os.getpid())
            open_journal()
            startup = Startup()
            startup.begin(deferred=True)
            startup.hand_down()
        Monitors(instrumentor.graphs).install()
        Captures().install()
        Engine(startup).install()
        RayActors().install()
        if make_endpoints is not None:
            Server(make_endpoints).install()


def _discard(directory: Path, pid: int) -> None:
    from compilespan.journal.directory import discard  # noqa: PLC0415  # see above

    if os.getpid() == pid:  # a forked child that ends by itself has this call, too
        discard(directory, with_children=True)


def _private_telemetry() -> Telemetry:
    """Make providers of our own, after the fork, when the first compile needs them.

    The global ones are vLLM's: it sets them itself, and OpenTelemetry refuses a second set.
    """
    from compilespan.instrumentor import event_channel  # noqa: PLC0415
    from compilespan.telemetry.telemetry import Telemetry  # noqa: PLC0415

    try:
        from compilespan.sdk import configure  # noqa: PLC0415
    except ImportError:  # without the SDK there are journals all the same
        return Telemetry()
    providers = configure(SERVICE_NAME, set_global=False)
    return Telemetry(
        providers.tracer_provider,
        providers.meter_provider,
        providers.logger_provider,
        event_channel(None),
    )
