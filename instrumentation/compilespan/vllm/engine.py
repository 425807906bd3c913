"""When vLLM is ready: each worker after its warmup, the first process after its engine.

The names that this rests on, tried on vLLM 0.32: ``compile_or_warm_up_model`` of the workers;
``EngineCoreClient.make_client`` and ``make_async_mp_client``, which return when every engine
process has said that it is ready; and ``launch_core_engines`` of the process that starts several
API servers and makes no client itself, whose block ends then; ``monitor_engine_liveness`` of the
managers of engine processes, and their ``failed_proc_name``.
"""

from __future__ import annotations

import atexit
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from compilespan.dynamo import private
from compilespan.dynamo.patches import Patches
from compilespan.faults import contained
from compilespan.journal.writer import open_journal
from compilespan.ledger.ledger import get_ledger, mark_ready
from compilespan.telemetry.telemetry import active_telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from compilespan.telemetry.startup import Startup

_FLUSH_S = 3.0


class Engine:
    """Declares a process ready, and ends the ``startup`` span in the first one.

    The first process has the client itself, or it starts API servers that have one each.
    """

    def __init__(self, startup: Startup | None) -> None:
        """Take the start, where this process opened it."""
        self._startup = startup

    def install(self) -> None:
        """Patch what says that it is ready."""
        Patches().apply(
            {private.VLLM_GPU_READY: self._ready},
            {private.VLLM_CPU_READY: self._ready},
            {private.VLLM_CLIENT: self._started},
            {private.VLLM_ASYNC_CLIENT: self._started},
            {private.VLLM_LAUNCH: self._launched},
            {private.VLLM_ENGINES: self._watched},
            {private.VLLM_ACTORS: self._watched},
        )

    def _ready(self, wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        result = wrapped(*args, **kwargs)
        with contained("note that a vLLM worker is ready"):
            mark_ready()
        return result

    def _started(self, wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        with self._starts():
            return wrapped(*args, **kwargs)

    def _launched(self, wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        return self._around(wrapped(*args, **kwargs))

    @contextmanager
    def _around(self, launch: AbstractContextManager[Any]) -> Iterator[Any]:
        with self._starts(), launch as launched:
            yield launched

    @contextmanager
    def _starts(self) -> Iterator[None]:
        """Take a block in which the engines start."""
        try:
            yield
        except BaseException as error:
            startup, self._startup = self._startup, None
            if startup is not None:
                with contained("end the span of the start"):
                    _ends_as("failed")
                    startup.end("failed", f"{type(error).__name__}: {error}")
                _flush()
            raise
        with contained("note that vLLM's engine is ready"):
            open_journal()  # others read there that this process is ready
            _ends_as("exit")  # also where an earlier engine failed
            mark_ready()
        startup, self._startup = self._startup, None  # one such block may be in another
        if startup is not None:
            # Only now, after the children were started: a thread that imports or exports while the
            # process forks leaves them locks that nobody gives back.
            threading.Thread(target=_report, name="compilespan-start", daemon=True).start()
            atexit.register(_flush)  # a program that ends at once

    def _watched(self, wrapped: Callable[..., Any], manager: Any, args: Any, kwargs: Any) -> Any:
        """Watch engines until the server stops, or one of them died."""
        try:
            return wrapped(*args, **kwargs)
        finally:
            with contained("note that an engine of vLLM died"):
                if getattr(manager, "failed_proc_name", None) is not None:
                    _ends_as("failed")


def _ends_as(reason: str) -> None:
    """Let the journal say this when the process ends by itself."""
    if (journal := get_ledger().journal) is not None:
        journal.end_reason = reason


def _report() -> None:
    """Export the start, and report earlier ones that died."""
    _flush()
    with contained("report starts that died"):
        _report_deaths()
    _flush()


def _flush() -> None:
    with contained("flush"):
        active_telemetry().flush(_FLUSH_S)


def _report_deaths() -> None:
    if (journal := get_ledger().journal) is None or "opentelemetry.sdk" not in sys.modules:
        return
    from compilespan.sdk.deaths import report_deaths  # noqa: PLC0415  # needs the SDK

    report_deaths(journal.directory)
