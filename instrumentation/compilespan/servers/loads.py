"""Weights that a server loads: a part of its start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compilespan.faults import contained
from compilespan.ledger.ledger import get_ledger

if TYPE_CHECKING:
    from collections.abc import Callable


def loading(wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
    """Wrap what loads a model's weights."""
    readiness = get_ledger().readiness
    began = None
    with contained("note that weights are loaded"):
        began = readiness.begin("load", "weights")
    try:
        return wrapped(*args, **kwargs)
    finally:
        if began is not None:
            with contained("note that weights were loaded"):
                readiness.end(began)
