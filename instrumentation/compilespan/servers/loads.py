"""Record the loading of a server's weights, a part of its start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compilespan.ledger.ledger import get_ledger
from compilespan.process.faults import contained

if TYPE_CHECKING:
    from collections.abc import Callable


def loading(wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
    """Wrap a function that loads a model's weights."""
    readiness = get_ledger().readiness
    began = None
    with contained("record the begin of loading weights"):
        began = readiness.begin("load", "weights")
    try:
        return wrapped(*args, **kwargs)
    finally:
        if began is not None:
            with contained("record the end of loading weights"):
                readiness.end(began)
