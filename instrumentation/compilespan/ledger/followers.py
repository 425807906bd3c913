"""Followers of the ledger, each with its own bounded queue and thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compilespan.ledger.subscription import Subscription
from compilespan.process import fork_safe_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from compilespan.ledger.entries import Entry


class Followers:
    """Publishes entries to subscriptions, and counts lost telemetry."""

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
        """Deliver every entry from now on to ``callback``, in a separate thread.

        Args:
            callback: Called with each entry.
            signal: Name under which `dropped` counts entries that are lost when the queue is full.
            prepare: See `Subscription`.
            idle: See `Subscription`.
            gather_s: See `Subscription`.
            first: Returns entries to deliver before all others; called while nothing
                else can be published.
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
        """End a subscription; wait up to ``timeout_s`` for the delivery of what is queued."""
        with self._lock:
            self._subscriptions = tuple(s for s in self._subscriptions if s is not subscription)
        subscription.close(timeout_s)

    def publish(self, entry: Entry, *, at_once: bool = False) -> None:
        """Queue an entry for every subscription; never waits for delivery.

        ``at_once`` skips the delay of ``gather_s``.
        """
        with self._lock:
            for subscription in self._subscriptions:
                if not subscription.put(entry, at_once=at_once):
                    self.note_dropped(subscription.signal)

    @property
    def dropped(self) -> dict[str, int]:
        """Lost items by signal: ``events``, ``stages``, ``subscription``, ``journal``."""
        with self._lock:
            return dict(self._dropped)

    def note_dropped(self, signal: str, count: int = 1) -> None:
        """Count lost telemetry (rule 6)."""
        with self._lock:
            self._dropped[signal] = self._dropped.get(signal, 0) + count
