"""Attributes of the pieces of a graph, for backends that compile a graph in pieces."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from compilespan import semconv

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.util.types import AttributeValue


def bound(wrapped: Callable[..., Any], args: Any, kwargs: Any) -> dict[str, Any]:
    """Return the arguments of a call by name, including defaults.

    Raises:
        TypeError: The function does not accept them.
    """
    found = inspect.signature(wrapped).bind(*args, **kwargs)
    found.apply_defaults()
    return found.arguments


def attributes(given: dict[str, Any], sizes: tuple[Any, Any]) -> dict[str, AttributeValue]:
    """Return the attributes of a piece's event.

    Args:
        given: The arguments of the backend, among them ``graph_index`` and ``num_graphs``.
        sizes: The smallest and the largest size that it is compiled for; ``None`` for any.
    """
    found: dict[str, AttributeValue] = {}
    if isinstance(count := given.get("num_graphs"), int):
        found[semconv.GRAPH_COUNT] = count
    if isinstance(index := given.get("graph_index"), int):
        found[semconv.GRAPH_INDEX] = index
    if None not in sizes:
        found[semconv.RANGE] = f"{sizes[0]}-{sizes[1]}"
    return found
