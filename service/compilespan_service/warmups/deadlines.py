"""Time limits of a job: its budget, and its targets' limits for each item."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from compilespan.warmup.plan import Plan, WarmupItem


class Deadlines:
    """Timers of one job, in their own threads: a compile cannot be interrupted."""

    def __init__(self, items: Plan, expire: Callable[[str], None]) -> None:
        """Take the job's items.

        Args:
            items: The items, with their targets, which set the limits.
            expire: Called in a timer's thread with the reason, at most once for each limit.
        """
        self._limits = {id(item): target.timeout_s for target, item in items}
        self._expire = expire
        self._item_timer: threading.Timer | None = None

    @contextmanager
    def budget(self, budget_s: float | None) -> Iterator[None]:
        """Limit the whole job to ``budget_s`` seconds if given; stop all timers at its end."""
        timer = self._start(budget_s, f"its budget of {budget_s} s is used up")
        try:
            yield
        finally:
            for each in (timer, self._item_timer):
                if each is not None:
                    each.cancel()

    def item_changed(self, item: WarmupItem) -> None:
        """Start an item's timer when the item begins to run, stop it when the item has ended."""
        if self._item_timer is not None:
            self._item_timer.cancel()
            self._item_timer = None
        if item.state == "running":
            limit_s = self._limits.get(id(item))
            why = f"{item.target} {item.label} took longer than its timeout_s of {limit_s} s"
            self._item_timer = self._start(limit_s, why)

    def _start(self, limit_s: float | None, why: str) -> threading.Timer | None:
        if limit_s is None:
            return None
        timer = threading.Timer(limit_s, self._expire, (why,))
        timer.daemon = True
        timer.start()
        return timer
