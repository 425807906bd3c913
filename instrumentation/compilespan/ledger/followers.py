"""Those who follow the ledger, each with a bounded queue and a thread of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compilespan.ledger.subscription import Subscription
from compilespan.process import fork_safe_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from compilespan.ledger.entries import Entry


class Followers:
    """Publishes entries to subscriptions, and counts what was lost."""

    def __init__(self) -> None:
        self._lock = fork_safe_lock()
        self._subscriptions: tuple[Subscription[Any], ...] = ()
        self._dropped: dict[str, int] = {}

    def follow(
        self,
        callback: Callable[[Any], object],
        *,
        signal: str = "subscription",
        prepare: Callable[[], object] | None = None,
        idle: Callable[[], float | None] | None = None,
        gather_s: float = 0.0,
        first: Callable[[], Sequence[Entry]] = tuple,
    ) -> Subscription[Any]:
        """Deliver every entry from now on to ``callback``, in a thread of its own.

        Args:
            callback: Gets each entry.
            signal: What `dropped` calls entries that found the queue full.
            prepare: See `Subscription`.
            idle: See `Subscription`.
            gather_s: See `Subscription`.
            first: Returns entries to deliver before all others; called while nothing is published.
        """
        subscription = Subscription(
            callback, signal=signal, prepare=prepare, idle=idle, gather_s=gather_s
        )
        with self._lock:
            for entry in first():
                subscription.put(entry)
            self._subscriptions = (*self._subscriptions, subscription)
        return subscription

    def unfollow(self, subscription: Subscription[Any], timeout_s: float = 2.0) -> None:
        """End a subscription, delivering what is queued if ``timeout_s`` suffices."""
        with self._lock:
            self._subscriptions = tuple(s for s in self._subscriptions if s is not subscription)
        subscription.close(timeout_s)

    def publish(self, entry: Entry, *, at_once: bool = False) -> None:
        """Hand an entry to every subscription, to be delivered ``at_once`` or a little later.

        Never waits.
        """
        with self._lock:
            for subscription in self._subscriptions:
                if not subscription.put(entry, at_once=at_once):
                    self.note_dropped(subscription.signal)

    @property
    def dropped(self) -> dict[str, int]:
        """What was lost, by signal: ``events``, ``stages``, ``subscription``, ``journal``."""
        with self._lock:
            return dict(self._dropped)

    def note_dropped(self, signal: str, count: int = 1) -> None:
        """Count telemetry that was lost (rule 6)."""
        with self._lock:
            self._dropped[signal] = self._dropped.get(signal, 0) + count
