"""When vLLM is ready: each worker after its warmup, the first process after its engine.

The names that this rests on, tried on vLLM 0.32: ``load_model`` and ``compile_or_warm_up_model``
of the workers;
``EngineCoreClient.make_client`` and ``make_async_mp_client``, which return when every engine
process has said that it is ready; and ``launch_core_engines`` of the process that starts several
API servers and makes no client itself, whose block ends then; ``monitor_engine_liveness`` of the
managers of engine processes, and their ``failed_proc_name``.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from compilespan.dynamo import private
from compilespan.dynamo.patches import Patches
from compilespan.journal.writer import open_journal
from compilespan.ledger.ledger import mark_ready
from compilespan.process.faults import contained
from compilespan.servers.loads import loading
from compilespan.servers.starting import ends_as

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from compilespan.servers.starting import Starting


class Engine:
    """Watches what starts the engines, and how they end.

    The first process has the client itself, or it starts API servers that have one each.
    """

    def __init__(self, starting: Starting) -> None:
        """Take what is told when they are ready."""
        self._starting = starting

    def install(self) -> None:
        """Patch what says that it is ready."""
        Patches().apply(
            {private.VLLM_WEIGHTS: loading},
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
            open_journal()  # also where it has compiled nothing
            mark_ready()
        return result

    def _started(self, wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        with self._starting.block():
            return wrapped(*args, **kwargs)

    def _launched(self, wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        return self._around(wrapped(*args, **kwargs))

    @contextmanager
    def _around(self, launch: AbstractContextManager[Any]) -> Iterator[Any]:
        with self._starting.block(), launch as launched:
            yield launched

    def _watched(self, wrapped: Callable[..., Any], manager: Any, args: Any, kwargs: Any) -> Any:
        """Watch engines until the server stops, or one of them died."""
        try:
            return wrapped(*args, **kwargs)
        finally:
            with contained("note that an engine of vLLM died"):
                if getattr(manager, "failed_proc_name", None) is not None:
                    ends_as("failed")
