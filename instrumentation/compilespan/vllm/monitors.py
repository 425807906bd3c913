"""vLLM's own monitor of ``torch.compile``, and what its backend does inside, taken over.

The names that this rests on, tried on vLLM 0.32: ``monitor_torch_compile`` (its ``is_encoder``,
``tag`` and ``announce_start``), bound by name in ``vllm.compilation.decorators``; and
``CompilerManager.compile`` (its ``graph_index``, ``num_graphs`` and ``compile_range``).
"""

from __future__ import annotations

import inspect
import logging
import sys
from typing import TYPE_CHECKING, Any

from compilespan import semconv
from compilespan.patches import Patches
from compilespan.unit import Unit
from compilespan.window import Around

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.util.types import AttributeValue

    from compilespan.dynamo.graphs import GraphWatch

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
            (
                ("vllm.compilation.monitor", {"monitor_torch_compile": self._monitor}),
                ("vllm.compilation.decorators", {"monitor_torch_compile": self._monitor}),
                ("vllm.compilation.backends", {"CompilerManager.compile": self._piece}),
            )
        )

    def _monitor(self, wrapped: Callable[..., Any], _: Any, args: Args, kwargs: Kwargs) -> Any:
        theirs = wrapped(*args, **kwargs)
        try:
            return Around(theirs, _unit(wrapped, args, kwargs))
        except Exception:
            _logger.debug("compilespan: a vLLM compile goes unseen", exc_info=True)
            return theirs

    def _piece(self, wrapped: Callable[..., Any], manager: Any, args: Args, kwargs: Kwargs) -> Any:
        try:
            told = inspect.signature(wrapped).bind(*args, **kwargs)
            told.apply_defaults()
            given = told.arguments
            attributes = _attributes(given)
            before = _counts(manager)
        except Exception:
            _logger.debug("compilespan: a vLLM graph goes uncounted", exc_info=True)
            return wrapped(*args, **kwargs)

        return self._graphs.around_piece(
            wrapped,
            args,
            kwargs,
            given.get("graph"),
            attributes,
            lambda overheard: _cache_result(manager, before, _counts(manager), overheard),
        )


def _unit(wrapped: Callable[..., Any], args: Args, kwargs: Kwargs) -> Unit:
    told = inspect.signature(wrapped).bind(*args, **kwargs)
    told.apply_defaults()
    given = told.arguments
    is_encoder, tag = bool(given.get("is_encoder")), str(given.get("tag") or "")
    name = tag or "torch.compile"
    if given.get("announce_start", True):
        return Unit(name, "explicit", kind=None, said=is_encoder)
    # The probe for an AOT artefact: vLLM opens it before every first compile, and a missing file
    # leaves it as an exception. Only one that finds something is a load.
    return Unit(name, "aot_load", kind="load", said=is_encoder, tentative=True)


def _attributes(given: dict[str, Any]) -> dict[str, AttributeValue]:
    compile_range = given.get("compile_range")
    attributes: dict[str, AttributeValue] = {}
    if isinstance(count := given.get("num_graphs"), int):
        attributes[semconv.GRAPH_COUNT] = count
    if isinstance(index := given.get("graph_index"), int):
        attributes[semconv.GRAPH_INDEX] = index
    start, end = getattr(compile_range, "start", None), getattr(compile_range, "end", None)
    if start is not None and end is not None:
        attributes[semconv.RANGE] = f"{start}-{end}"
    return attributes


def _counts(manager: Any) -> tuple[int, int]:
    """How many graphs vLLM compiled, and how many distinct ones it has in hand."""
    counter = getattr(sys.modules.get("vllm.compilation.counter"), "compilation_counter", None)
    compiled = getattr(counter, "num_inductor_compiles", 0) + getattr(
        counter, "num_eager_compiles", 0
    )
    return compiled, len(getattr(manager, "loaded_artifacts", ()))


def _cache_result(
    manager: Any, before: tuple[int, int], after: tuple[int, int], overheard: str | None
) -> str:
    """Return what vLLM's own cache had to say, else what was overheard of torch's.

    A compile that leaves no new artefact was broken off: the graph is the twin of an earlier one.
    """
    if after[0] == before[0] or after[1] == before[1]:
        return "hit"
    if getattr(manager, "disable_cache", False):
        return "bypass"
    return overheard or "miss"
