"""When a process uses the shared cache: before it compiles, when it is ready, and at its end."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING

from compilespan.cache.configured import URL, configured
from compilespan.cache.errors import CacheError
from compilespan.cache.turn import Turn
from compilespan.ledger.entries import Ended, Entry, Mark, Ready
from compilespan.ledger.ledger import get_ledger
from compilespan.process import fork_safe_lock, now_ns, renewed_after_fork
from compilespan.process.faults import contained
from compilespan.telemetry.flushing import at_end_of_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from compilespan.cache.lease import Epochs
    from compilespan.cache.shared import SharedCache

EXIT_S = 5.0
"""Seconds that a process waits at its end for a publication."""

_logger = logging.getLogger("compilespan")

_find_lease: ContextVar[Callable[[str], Epochs | None]] = ContextVar(
    "compilespan_find_lease", default=lambda _: None
)


@contextmanager
def leases(find: Callable[[str], Epochs | None]) -> Iterator[None]:
    """Let others than the store say who builds, for the warmups in this block.

    Args:
        find: Returns who leads in some work; ``None`` to ask the store.
    """
    token = _find_lease.set(find)
    try:
        yield
    finally:
        _find_lease.reset(token)


class Share:
    """A shared cache, and how much of what this process built is in it."""

    def __init__(self, cache: SharedCache) -> None:
        """Share what is built from now on."""
        self.cache = cache
        self._pid = os.getpid()
        self._since_ns = time.time_ns()
        total = get_ledger().totals().total
        self._misses, self._compile_s = total.cache_misses, total.compile_s
        self._lock = threading.Lock()

    def fetch(self) -> None:
        """Fetch what fits; the time is a part of the start, and of no compile."""
        began_ns = now_ns()
        self.cache.fetch()
        fetched = Mark("load", began_ns, now_ns(), "compile cache", threading.get_ident())
        get_ledger().readiness.note(fetched)

    def publish(self, timeout_s: float | None = None) -> bool:
        """Publish what was built, if that is more than last time; what failed is tried again.

        Args:
            timeout_s: Seconds that this may take; defaults to the cache's.

        Returns:
            Whether the store has now all that was built.
        """
        # A forked child has neither what its parent built nor the thread that holds the lock.
        if os.getpid() != self._pid or not self._lock.acquire(timeout=timeout_s or -1):
            return False
        try:
            total = get_ledger().totals().total
            if total.cache_misses == self._misses:
                return True
            compile_s = total.compile_s - self._compile_s
            is_published = self.cache.publish(self._since_ns, compile_s, timeout_s).error is None
            if is_published:
                self._misses, self._compile_s = total.cache_misses, total.compile_s
            return is_published
        finally:
            self._lock.release()

    def turn(self, work: str, goes_on: Callable[[], bool]) -> AbstractContextManager[Turn | None]:
        """Return a block in which what several processes need is built once.

        Args:
            work: A name that all processes with the same work find, and no others.
            goes_on: ``False`` ends a wait early.
        """
        if self.cache.is_down:  # it would cost as much time again
            return nullcontext()
        try:
            lease = _find_lease.get()(work) or self.cache.lease(work)
        except CacheError:  # the fetch has said why
            return nullcontext()
        return Turn(
            lease,
            self.cache.wait_s if self.cache.may_fetch else 0.0,
            fetch=self.fetch,
            publish=self.publish,
            goes_on=goes_on,
            waited=self.cache.uses.waited,
            used=self.cache.note_use,
            try_out=lambda: self.cache.publications.try_out(is_turn=True),
            tried=lambda keys, is_known: self.cache.publications.turn_ended(
                keys, is_known=is_known
            ),
            may_lead=self.cache.may_publish,
        )

    def publish_at_exit(self) -> None:
        """Publish in the little time that a process has to end."""
        with contained("publish the compile cache"):
            if os.getpid() == self._pid:
                until_s = time.monotonic() + EXIT_S
                self.cache.publications.end_trial(EXIT_S / 2)
                self.publish(max(0.1, until_s - time.monotonic()))


def share_of(url: str | None) -> Share | None:
    """Fetch from the cache at ``url`` and return it, for `Share.publish`.

    Returns ``None`` without a URL, and for that of the environment, which `Sharing` uses.

    Raises:
        CacheError: The URL or a setting cannot be used.
    """
    if url is None or url == os.environ.get(URL) or (cache := configured(url)) is None:
        return None
    share = Share(cache)
    share.fetch()
    cache.publications.try_out()
    _at_exit(share.publish_at_exit)
    return share


def _at_exit(call: Callable[[], None]) -> None:
    """Call something when the process ends."""
    # Before threads and executors end: after that, clients of stores cannot connect.
    getattr(threading, "_register_atexit", atexit.register)(call)
    at_end_of_child(call)


class Sharing:
    """Uses the cache that the environment names, without a line in the program."""

    def __init__(self) -> None:
        self._lock = fork_safe_lock()
        self._is_fetched = False
        """Also in a forked child: what its parent fetched is there."""
        self.renew()
        renewed_after_fork(self)

    def renew(self) -> None:
        """Share nothing until `begin` is called in this process."""
        self._share: Share | None = None

    @property
    def share(self) -> Share | None:
        """The cache that the environment names, from now on; ``None`` if it names none."""
        self.begin()
        return self._share

    def begin(self) -> None:
        """Fetch before the first compile; publish when the process is ready and when it ends."""
        if self._share is not None or "torch" not in sys.modules:
            return
        with self._lock:
            if self._share is not None:
                return
            try:
                cache = configured()
            except CacheError as error:
                _logger.warning("compilespan: the compile cache is not shared: %s", error)
                return
            if cache is None:
                return
            self._share = share = Share(cache)
        # Without the lock: other threads that compile meanwhile do not wait.
        if not self._is_fetched:
            self._is_fetched = True
            share.fetch()
            cache.publications.try_out()
        get_ledger().followers.follow(self._entry, signal="cache")
        _at_exit(share.publish_at_exit)

    def _entry(self, entry: Entry) -> None:
        if self._share is None:
            return
        if isinstance(entry, Ended) and entry.record is not None and entry.record.cache_hits:
            self._share.cache.note_use()
        if isinstance(entry, Ready):
            self._share.cache.publications.tried()
            publish = self._share.publish
            threading.Thread(target=publish, name="compilespan-cache", daemon=True).start()


sharing = Sharing()


def share_what_is_compiled() -> None:
    """Begin to share the compile cache, if the environment names one."""
    sharing.begin()
