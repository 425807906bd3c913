"""One process's turn in work that several have: it leads, or waits for who leads and fetches."""

from __future__ import annotations

import functools
import logging
import time
from typing import TYPE_CHECKING, final

from compilespan import semconv
from compilespan.cache.bounded import within_s
from compilespan.cache.errors import CacheError, in_words
from compilespan.cache.leading import PERIOD_S, Leading
from compilespan.dynamo.graphs import GraphWatch
from compilespan.ledger.ledger import get_ledger
from compilespan.process.faults import contained
from compilespan.telemetry.cache_spans import cache_span

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from compilespan.cache.lease import Beat, Epochs
    from compilespan.semconv import WaitOutcome

LOST_PERIODS = 3
"""Periods without a new beat, by the clock of who waits, after which a leader is lost."""
_LOOK_S = 0.25
_SAY_S = 30.0
_STORE_S = 10.0
_TRIES = 20

_logger = logging.getLogger("compilespan")


@final
class Turn:
    """A block in which what several processes need is built once. Nothing here raises."""

    def __init__(
        self,
        lease: Epochs,
        wait_s: float,
        *,
        fetch: Callable[[], object],
        publish: Callable[[], bool],
        goes_on: Callable[[], bool],
        waited: Callable[[float], object] = lambda _: None,
        try_out: Callable[[], object] = lambda: None,
        tried: Callable[[set[str], bool], object] = lambda _keys, _is_known: None,
        used: Callable[[], object] = lambda: None,
        may_lead: bool = True,
    ) -> None:
        """Prepare it.

        Args:
            lease: Of the work.
            wait_s: Seconds to wait for others, in all.
            fetch: Fetches what another process built.
            publish: Publishes what this one built; ``False`` if that failed.
            goes_on: ``False`` ends a wait early, and the signs of life of who leads.
            waited: Called with the seconds of each wait.
            try_out: Called before the first item.
            tried: Called at the end, with the keys of graphs that failed items had loaded, and
                with ``False`` if the program ends.
            used: Called when compiles may have used what was fetched.
            may_lead: Whether this process publishes at all.
        """
        self._lease = lease
        self._left_s = wait_s
        self._fetch = fetch
        self._publish = publish
        self._goes_on = goes_on
        self._waited, self._used = waited, used
        self._try_out, self._tried = try_out, tried
        self._hits = set(GraphWatch.hit_keys)
        self._failed_keys: set[str] = set()
        self._may_lead = may_lead
        self._misses = _misses()
        self._epoch = 0
        """The epoch that is over, or that this process leads."""
        self._leading: Leading | None = None
        self._is_alone = False
        """Whether this process no longer cares for the others."""

    def __enter__(self) -> Turn:
        """Lead, or wait until another process has built it."""
        self._carefully(lambda: self._take(is_needed=False))
        with contained("note what a warmup may load"):
            self._try_out()
        return self

    def item_ended(self, *, has_failed: bool = False) -> None:
        """Lead or wait before the next item if the last one was not in the store.

        Args:
            has_failed: Whether the item failed.
        """
        hits = set(GraphWatch.hit_keys)
        if has_failed:
            self._failed_keys |= hits - self._hits
        self._hits = hits
        misses = _misses()
        if misses > self._misses and self._leading is None:
            self._carefully(lambda: self._take(is_needed=True))
        self._misses = misses

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Publish what was built, and tell the others that it is there."""
        is_published = False
        try:
            with contained("share what a warmup has built"):
                self._used()
                self._tried(self._failed_keys, error is None)
                is_published = error is None and self._publish()
        finally:
            leading, self._leading = self._leading, None
            if leading is not None:
                leading.end("built" if is_published else "failed")

    def _carefully(self, take: Callable[[], None]) -> None:
        if self._is_alone:
            return
        try:
            take()
        except Exception as error:  # a store may raise anything
            self._is_alone = True
            _logger.warning(
                "compilespan: replicas that start together do not wait for one another: %s",
                in_words(error),
            )

    def _take(self, *, is_needed: bool) -> None:
        """Lead, or wait for who leads.

        Args:
            is_needed: Whether what was built before is known not to be enough.
        """
        for _ in range(_TRIES):
            if not self._goes_on():
                return
            latest = within_s(_STORE_S, self._lease.latest)
            is_new = latest > self._epoch
            if is_new:
                outcome = self._outcome(latest)
                self._epoch = latest
                self._is_alone = outcome in ("failed", "bound")
                if outcome != "lost":
                    return
            if not self._may_lead or not (is_new or is_needed or latest == 0):
                return
            begin = functools.partial(self._lease.begin, latest + 1)
            if within_s(_STORE_S, begin):
                self._epoch = latest + 1
                self._leading = Leading(self._lease, self._epoch, self._goes_on)
                if is_new:  # the one that is lost may have published
                    self._fetch()
                return
            time.sleep(_LOOK_S)  # another process began it, and the store will list it
        msg = "the store does not show who builds"
        raise CacheError(msg)

    def _outcome(self, epoch: int) -> WaitOutcome:
        """Wait for the leader of an epoch, and fetch what it built."""
        beat = self._beat(epoch)
        if beat is not None and beat.state == "failed":  # before this process began
            return "lost"
        if beat is not None and beat.state == "built":
            self._fetch()
            return "built"
        leader = beat.leader if beat is not None else "another replica"
        _logger.info("compilespan: waiting for %s, which builds what this process needs", leader)
        with (
            cache_span(semconv.SPAN_CACHE_WAIT) as span,
            get_ledger().readiness.doing("wait", leader),
        ):
            outcome = self._wait(epoch, leader)
            span.waited(leader, outcome)
        _logger.info("compilespan: waited for %s: %s", leader, _WORDS[outcome])
        if outcome == "built":
            self._fetch()
        return outcome

    def _wait(self, epoch: int, leader: str) -> WaitOutcome:
        began_s = seen_s = said_s = now_s = time.monotonic()
        deadline_s = began_s + self._left_s
        count = 0
        try:
            while now_s < deadline_s and self._goes_on():
                beat = self._beat(epoch)
                now_s = time.monotonic()
                if beat is not None and beat.count > count:
                    count, seen_s = beat.count, now_s
                    if beat.state != "building":
                        return beat.state
                if now_s - seen_s > LOST_PERIODS * PERIOD_S:
                    return "lost"
                if now_s - said_s > _SAY_S:
                    said_s = now_s
                    _logger.info("compilespan: waiting for %s, %.0f s", leader, now_s - began_s)
                now_s = self._sleep(min(now_s + PERIOD_S / 2, deadline_s))
            return "bound"
        finally:
            spent_s = time.monotonic() - began_s
            self._left_s -= spent_s
            self._waited(spent_s)

    def _sleep(self, until_s: float) -> float:
        """Sleep until a moment or until a cancellation; return the time."""
        while (left_s := until_s - time.monotonic()) > 0 and self._goes_on():
            time.sleep(min(_LOOK_S, left_s))
        return time.monotonic()

    def _beat(self, epoch: int) -> Beat | None:
        try:
            return within_s(_STORE_S, lambda: self._lease.beat(epoch))
        except CacheError:  # a store that is down shows no beats
            return None


_WORDS: dict[WaitOutcome, str] = {
    "built": "it is built",
    "failed": "it failed, so this process builds it, too",
    "lost": "it is lost, so another one builds it",
    "bound": "it took too long, so this process builds it, too",
}


def _misses() -> int:
    return get_ledger().totals().total.cache_misses
