"""What came from the store, whether torch used it, and what that saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compilespan.cache.roots import graph_key
from compilespan.dynamo.graphs import GraphWatch
from compilespan.ledger.cache_use import MAX_UNUSED, CacheUse
from compilespan.ledger.ledger import get_ledger
from compilespan.process import fork_safe_lock

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from compilespan.cache.manifest import Entry


class Uses:
    """The account of one shared cache; the ledger gets it whenever it changes."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lock = fork_safe_lock()
        self._use = self._noted = CacheUse()
        self._graphs: dict[str, None] = {}
        self._seconds: Mapping[str, float] = {}

    def fetched(
        self, entries: Iterable[Entry], seconds: Mapping[str, float], spent_s: float
    ) -> None:
        """Add what was fetched.

        Args:
            entries: The files.
            seconds: Seconds that each graph took its builder, by key.
            spent_s: Seconds that it took to fetch them.
        """
        moved = list(entries)
        keys = [key for each in moved if (key := graph_key(each.path)) is not None]
        # A graph has an entry in each cache; AOTAutograd's is looked up first.
        first = [key for kind, key in keys if kind == "aotautograd"] or [key for _, key in keys]
        with self._lock:
            self._graphs.update(dict.fromkeys(first))
            self._seconds = dict(seconds)
        self._add(
            CacheUse(
                fetched_files=len(moved),
                fetched_bytes=sum(each.size for each in moved),
                fetch_s=spent_s,
            )
        )

    def waited(self, spent_s: float) -> None:
        """Add a wait for another process."""
        self._add(CacheUse(wait_s=spent_s))

    def published(self, files: int, spent_s: float) -> None:
        """Add what was published."""
        self._add(CacheUse(published_files=files, publish_s=spent_s))

    def quarantined(self, publications: int) -> None:
        """Add publications that were put into quarantine."""
        self._add(CacheUse(quarantined=publications))

    def note(self) -> None:
        """Find out which graphs were used by now."""
        self._add(CacheUse())

    def _add(self, more: CacheUse) -> None:
        with self._lock:
            self._use += more
            used = [key for key in self._graphs if key in GraphWatch.hit_keys]
            unused = [key for key in self._graphs if key not in GraphWatch.hit_keys]
            noted = self._use + CacheUse(
                fetched_graphs=len(self._graphs),
                used_graphs=len(used),
                unused_graphs=tuple(unused[:MAX_UNUSED]),
                saved_s=sum(self._seconds.get(key, 0.0) for key in used),
            )
            if noted != self._noted:
                self._noted = noted
                get_ledger().note_cache_use(noted)


def seconds_of_graphs() -> dict[str, float]:
    """Return the seconds that each graph took that this process built, by cache key."""
    return {
        key: record.duration_s / record.cache_misses
        for record in get_ledger().records()
        if record.cache_misses
        for key in record.keys_of("miss")
    }
