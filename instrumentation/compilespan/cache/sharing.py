"""When a process uses the shared cache: before it compiles, when it is ready, and at its end."""

from __future__ import annotations

import atexit
import logging
import sys
import threading
import time
from typing import TYPE_CHECKING

from compilespan.cache.configured import configured
from compilespan.cache.errors import CacheError
from compilespan.ledger.entries import Entry, Mark, Ready
from compilespan.ledger.ledger import get_ledger
from compilespan.process import now_ns, renewed_after_fork
from compilespan.telemetry.flushing import at_end_of_child

if TYPE_CHECKING:
    from compilespan.cache.shared import SharedCache

_logger = logging.getLogger("compilespan")


class Share:
    """A shared cache, and how much of what this process built is in it."""

    def __init__(self, cache: SharedCache) -> None:
        """Share what is built from now on."""
        self._cache = cache
        self._since_ns = time.time_ns()
        self._misses = get_ledger().totals().total.cache_misses
        self._lock = threading.Lock()

    def fetch(self) -> None:
        """Fetch what fits; the time is a part of the start, and of no compile."""
        began_ns = now_ns()
        self._cache.fetch()
        fetched = Mark("load", began_ns, now_ns(), "compile cache", threading.get_ident())
        get_ledger().readiness.note(fetched)

    def publish(self) -> None:
        """Publish what this process built, if that is more than last time."""
        with self._lock:
            total = get_ledger().totals().total
            if total.cache_misses > self._misses:
                self._misses = total.cache_misses
                self._cache.publish(self._since_ns, total.compile_s)


def share_of(url: str | None) -> Share | None:
    """Fetch from the cache at ``url`` and return it, for `Share.publish`; ``None`` without a URL.

    Raises:
        CacheError: The URL or a setting cannot be used.
    """
    if url is None or (cache := configured(url)) is None:
        return None
    share = Share(cache)
    share.fetch()
    return share


class Sharing:
    """Uses the cache that the environment names, without a line in the program."""

    def __init__(self) -> None:
        self.renew()
        renewed_after_fork(self)

    def renew(self) -> None:
        """Share nothing until `begin` is called in this process."""
        self._share: Share | None = None

    def begin(self) -> None:
        """Fetch before the first compile; publish when the process is ready and when it ends."""
        if self._share is not None or "torch" not in sys.modules:
            return
        try:
            cache = configured()
        except CacheError as error:
            _logger.warning("compilespan: the compile cache is not shared: %s", error)
            return
        if cache is None:
            return
        self._share = share = Share(cache)
        share.fetch()
        get_ledger().followers.follow(self._entry, signal="cache")
        atexit.register(share.publish)
        at_end_of_child(share.publish)

    def _entry(self, entry: Entry) -> None:
        if isinstance(entry, Ready) and self._share is not None:
            publish = self._share.publish
            threading.Thread(target=publish, name="compilespan-cache", daemon=True).start()


sharing = Sharing()


def share_what_is_compiled() -> None:
    """Begin to share the compile cache, if the environment names one."""
    sharing.begin()
