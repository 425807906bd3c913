"""vLLM's own monitor of ``torch.compile``, and what its backend does inside, taken over.

The names that this rests on, tried on vLLM 0.32: ``monitor_torch_compile`` (its ``is_encoder``,
``tag`` and ``announce_start``), bound by name in ``vllm.compilation.decorators``;
``_try_load_aot_compiled_fn`` there (its ``aot_compilation_path``); ``use_aot_compile``; and
``CompilerManager.compile`` (its ``graph_index``, ``num_graphs`` and ``compile_range``), and the
manager's ``cache_dir``.
"""

from __future__ import annotations

import functools
import logging
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compilespan import semconv
from compilespan.components.marks import stated
from compilespan.dynamo import private
from compilespan.dynamo.patches import Patches
from compilespan.monitor.unit import Unit
from compilespan.monitor.window import around
from compilespan.process.faults import contained
from compilespan.servers.pieces import attributes, bound
from compilespan.servers.vllm.factors import why_missed

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.util.types import AttributeValue

    from compilespan.dynamo.graphs import GraphWatch

TESTED = "0.32"

_artefact: ContextVar[str | None] = ContextVar("compilespan_vllm_artefact", default=None)
"""The path of the artefact that is looked for."""

_logger = logging.getLogger("compilespan")

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class Monitors:
    """Wraps vLLM's monitor and per-graph compile where they are imported, or will be."""

    def __init__(self, graphs: GraphWatch) -> None:
        self._graphs = graphs

    def install(self) -> None:
        """Patch them."""
        Patches().apply(
            {private.VLLM_MONITOR: self._monitor},
            {private.VLLM_MONITOR_BOUND: self._monitor},
            {private.VLLM_LOAD: self._load},
            {private.VLLM_PIECE: self._piece},
        )

    def _monitor(self, wrapped: Callable[..., Any], _: Any, args: Args, kwargs: Kwargs) -> Any:
        theirs = wrapped(*args, **kwargs)
        with contained("take over a monitor of vLLM"):
            return around(theirs, _unit(wrapped, args, kwargs))
        return theirs

    def _load(self, wrapped: Callable[..., Any], _: Any, args: Args, kwargs: Kwargs) -> Any:
        path = None
        with contained("read the arguments of a load of vLLM"):
            path = bound(wrapped, args, kwargs).get("aot_compilation_path")
        token = _artefact.set(path)
        try:
            return wrapped(*args, **kwargs)
        finally:
            _artefact.reset(token)

    def _piece(self, wrapped: Callable[..., Any], manager: Any, args: Args, kwargs: Kwargs) -> Any:
        given: dict[str, Any] = {}
        with contained("read the arguments of a graph of vLLM"):
            given = bound(wrapped, args, kwargs)
            before = _counts(manager)
        if not given:
            return wrapped(*args, **kwargs)
        return self._graphs.around_piece(
            wrapped,
            args,
            kwargs,
            given.get("graph"),
            _attributes(given),
            lambda torchs: _cache_result(manager, before, _counts(manager), torchs),
            lambda: why_missed(str(manager.cache_dir)),
        )


def _unit(wrapped: Callable[..., Any], args: Args, kwargs: Kwargs) -> Unit:
    given = bound(wrapped, args, kwargs)
    component = stated(is_encoder=bool(given.get("is_encoder")))
    name = semconv.name(given.get("tag") or "torch.compile")
    is_older = "announce_start" not in given
    if is_older:
        _say_version()
    # Before every first compile vLLM looks for an AOT artefact; a missing file leaves the block as
    # an exception. Older versions say only by `_load` which of the two it is.
    path = _artefact.get()
    if path is None and given.get("announce_start", True):
        return Unit(
            name,
            "explicit",
            kind=None,
            stated=component,
            is_stored=_stores(),
            tentative=is_older and private.VLLM_LOAD.found() is None,
        )
    is_there = path is not None and Path(path).exists()
    return Unit(name, "aot_load", kind="load", stated=component, tentative=not is_there)


def _stores() -> bool:
    """Whether vLLM keeps what it compiles for the next start."""
    stores = private.VLLM_STORES.found()
    return stores is not None and bool(stores())


@functools.cache
def _say_version() -> None:
    """Log once that this vLLM is not one that was tried."""
    _logger.warning(
        "compilespan: tested with vLLM %s; this is %s, whose monitor tells less: what it compiles "
        "has no names of its own",
        TESTED,
        getattr(sys.modules.get("vllm"), "__version__", "another version"),
    )


def _attributes(given: dict[str, Any]) -> dict[str, AttributeValue]:
    sizes = given.get("compile_range")
    return attributes(given, (getattr(sizes, "start", None), getattr(sizes, "end", None)))


def _counts(manager: Any) -> tuple[int, int]:
    """Return how many graphs vLLM compiled, and how many distinct ones it has in hand."""
    counter = private.VLLM_COUNTER.found()
    compiled = getattr(counter, "num_inductor_compiles", 0) + getattr(
        counter, "num_eager_compiles", 0
    )
    return compiled, len(getattr(manager, "loaded_artifacts", ()))


def _cache_result(
    manager: Any, before: tuple[int, int], after: tuple[int, int], torchs: str | None
) -> str:
    """Return the result of vLLM's own cache, else that of torch's.

    A compile that leaves no new artefact was broken off: the graph is the twin of an earlier one.
    """
    if after[0] == before[0] or after[1] == before[1]:
        return "hit"
    if getattr(manager, "disable_cache", False):
        return torchs or "bypass"
    # Torch's caches may be off in it: vLLM stores the graph itself.
    return "hit" if torchs == "hit" else "miss"
