"""The warmup itself: run each shape until nothing compiles, then verify it.

It needs no HTTP: use it in LitServe's ``setup``, a Ray actor or a torchrun rank; the service's jobs
use it, too.

    from compilespan import WarmupTarget, warm

    target = WarmupTarget("encoder", run=lambda shape: model(pixels(**shape)),
                          shapes=[{"batch": 1}, {"batch": 8}])
    result = warm([target])
    assert result.is_warm, result.items
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compilespan.cache.sharing import share_of
from compilespan.telemetry.prompt_export import prompt_export
from compilespan.warmup.call import load
from compilespan.warmup.plan import plan
from compilespan.warmup.warmup import Warmup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from compilespan.warmup.plan import WarmupItem, WarmupResult, WarmupTarget
    from compilespan.warmup.warmup import OnError


def warm(
    targets: Sequence[WarmupTarget],
    *,
    verify: bool = True,
    on_error: OnError = "continue",
    on_item: Callable[[WarmupItem], object] | None = None,
    cache: str | None = None,
) -> WarmupResult:
    """Load the targets, run every shape until it compiles nothing, then verify.

    Args:
        targets: What to warm.
        verify: Run every item once more at the end. An item that still compiles is ``unstable``;
            one whose call runs no compiled code is ``eager``.
        on_error: ``stop`` ends the warmup at the first failed item; the rest stay ``pending``.
        on_item: Called when an item's state changes, in this thread.
        cache: URL of a compile cache that replicas share, e.g. ``s3://bucket/cache``; defaults to
            that of ``COMPILESPAN_CACHE_URL``. Of the replicas that warm the same items at the same
            time, one builds what they need; the others wait for it (``COMPILESPAN_CACHE_WAIT``).

    Returns:
        The items in order, and what their compiles cost. A result without items is not warm.

    Raises:
        CacheError: ``cache`` cannot be used. A store that does not answer costs a warning only.
    """
    share = share_of(cache)
    for target in targets:
        load(target)
    result = Warmup(
        plan(targets), verify=verify, on_error=on_error, on_item=on_item, share=share
    ).run()
    if share is not None and not share.cache.is_down:
        # A warmup that waits for nobody has done neither.
        share.cache.note_use()
        share.publish()
    prompt_export.finish()
    return result
