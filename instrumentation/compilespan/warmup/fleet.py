"""A warmup that several replicas run at once: what they need is built by one of them."""

from __future__ import annotations

import hashlib
import json
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from compilespan import semconv
from compilespan.cache.sharing import sharing
from compilespan.process.faults import contained
from compilespan.telemetry.identity import distributed

if TYPE_CHECKING:
    from collections.abc import Callable

    from compilespan.cache.sharing import Share
    from compilespan.cache.turn import Turn
    from compilespan.warmup.plan import Plan


def turn_in_fleet(
    items: Plan, share: Share | None, goes_on: Callable[[], bool]
) -> AbstractContextManager[Turn | None]:
    """Return a block in which these items are built by one of the replicas that warm them now.

    Ranks of one model meet in collectives, so they wait for no other process.

    Args:
        items: What is warmed.
        share: The cache to use; defaults to that of the environment.
        goes_on: ``False`` ends a wait early.
    """
    with contained("share the compile cache in a warmup"):
        share = share or sharing.share
        if share is not None and distributed().get(semconv.WORLD_SIZE, 1) == 1:
            return share.turn(_work(items), goes_on)
    return nullcontext()


def _work(items: Plan) -> str:
    """Return a name that replicas of the same program find for the same items."""
    named = [
        (
            *(target.name, getattr(target.run, "__module__", None)),
            *(getattr(target.run, "__qualname__", None), item.label),
        )
        for target, item in items
    ]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:32]
