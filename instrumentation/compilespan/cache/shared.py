"""Fetches what other replicas compiled, and publishes what this one built."""

from __future__ import annotations

import functools
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from compilespan import semconv
from compilespan.cache import namespace
from compilespan.cache.bounded import within, within_s
from compilespan.cache.environments import nearest, note
from compilespan.cache.errors import CacheError, in_words
from compilespan.cache.fetching import fetch
from compilespan.cache.lease import Lease
from compilespan.cache.local import PARTS
from compilespan.cache.place import Place
from compilespan.cache.publications import Publications
from compilespan.cache.publishing import publish
from compilespan.cache.roots import ROOTS
from compilespan.cache.sound import sound
from compilespan.cache.space import Space
from compilespan.cache.store import LocalStore
from compilespan.cache.uses import Uses, seconds_of_graphs
from compilespan.dynamo.known_keys import known_keys
from compilespan.telemetry.cache_spans import cache_span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from compilespan.cache.manifest import Entry
    from compilespan.cache.store import Store

Mode = Literal["read", "write", "readwrite"]

TIMEOUT_S = 60.0
"""Seconds that a fetch or a publication may wait for the store."""
WAIT_S = 600.0
"""Seconds that a warmup may wait for another process that builds the same."""

_logger = logging.getLogger("compilespan")


@dataclass(frozen=True, slots=True)
class Moved:
    """What was fetched or published.

    Attributes:
        entries: Number of files.
        bytes: Their size.
        error: Why it ended early or did nothing; ``None`` if it did not.
    """

    entries: int = 0
    bytes: int = 0
    error: str | None = None


class SharedCache:
    """The cache at a URL; nothing here raises once it is made."""

    def __init__(
        self,
        url: str,
        *,
        mode: Mode = "readwrite",
        key_file: Path | None = None,
        is_unsigned_allowed: bool = False,
        timeout_s: float = TIMEOUT_S,
        wait_s: float = WAIT_S,
    ) -> None:
        """Read the key, and connect to nothing yet.

        Args:
            url: A directory, or any URL of fsspec.
            mode: Whether to fetch, to publish or both.
            key_file: File with the key that signs what is published; only what has its signature
                is loaded.
            is_unsigned_allowed: Whether to load what has no signature from any store. Without it
                and without a key only a directory that nobody else can write is used.
            timeout_s: Seconds that a fetch or a publication may wait for the store.
            wait_s: Seconds that a warmup may wait for another process that builds the same.

        Raises:
            CacheError: The URL or the key cannot be used.
        """
        self._place = Place(url, key_file)
        self._is_unsigned_allowed = is_unsigned_allowed
        self.wait_s = wait_s
        self._mode = mode
        self._timeout_s = timeout_s
        self._known: set[Entry] = set()
        """Entries that are in the store and here."""
        self._seconds: dict[str, float] = {}
        """Seconds that it took to build each graph, by cache key, as manifests say."""
        self.publications = Publications(
            lambda: self._space(self._store())[0],
            lambda: self._notes(self._space(self._store())[0]),
        )
        self.uses = Uses()
        self.is_down = False
        """Whether the last transfer failed."""

    @property
    def may_publish(self) -> bool:
        """Whether what this process builds is published."""
        return self._mode != "read"

    @property
    def may_fetch(self) -> bool:
        """Whether what others built is fetched."""
        return self._mode != "write"

    def fetch(self) -> Moved:
        """Fetch what fits this environment and is not here; imports torch."""
        if not self.may_fetch:
            return Moved()
        return self._moved("fetch", self._fetch, self._timeout_s)

    def publish(self, since_ns: int, compile_s: float, timeout_s: float | None = None) -> Moved:
        """Publish the entries that were written since a moment.

        Args:
            since_ns: In nanoseconds since the epoch, by this machine's clock.
            compile_s: Seconds of compiles that it took to build them.
            timeout_s: Seconds that it may wait for the store; defaults to those of the cache.
        """
        if not self.may_publish:
            return Moved()
        move = functools.partial(self._publish, since_ns, compile_s)
        return self._moved("publish", move, timeout_s or self._timeout_s)

    def note_use(self) -> None:
        """Find out which graphs were used by now; mark their publications, so that they are kept.

        The store does that in its own time; what fails is not marked.
        """
        self.uses.note()
        if self.may_publish:
            self.publications.mark_used()

    def _notes(self, space: Space) -> Space:
        """Return where trials are noted: who may not write to the store does it here."""
        if self.may_publish:
            return space
        directory = ROOTS[0].find()
        if directory is None:
            msg = "torch has no cache directory"
            raise CacheError(msg)
        notes = directory / PARTS / "notes"
        notes.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Space(LocalStore(notes, is_checked=False), None, "notes")

    def lease(self, work: str) -> Lease:
        """Return the lease of some work; imports torch.

        Raises:
            CacheError: Code from the store must not be loaded, or it did not answer.
        """
        space, _ = self._space(within_s(self._timeout_s, self._store))
        return Lease(space, work)

    def _moved(
        self,
        what: Literal["fetch", "publish"],
        move: Callable[[Store, float], Iterator[Entry]],
        timeout_s: float,
    ) -> Moved:
        """Run a transfer; an error ends it with a warning."""
        began_s, why = time.monotonic(), None
        deadline_s = began_s + timeout_s
        moved: list[Entry] = []
        name = semconv.SPAN_CACHE_FETCH if what == "fetch" else semconv.SPAN_CACHE_PUBLISH
        with cache_span(name) as span:
            try:
                for entry in move(within(deadline_s, self._store), deadline_s):
                    moved.append(entry)  # noqa: PERF402  # kept if a later one fails
            except Exception as error:  # torch's own functions may raise anything
                why = in_words(error)
            count, size = len(moved), sum(each.size for each in moved)
            span.moved(count, size, why)
        self.is_down = why is not None
        spent_s = time.monotonic() - began_s
        if what == "fetch":
            self.uses.fetched(moved, self._seconds, spent_s)
        else:
            self.uses.published(count, spent_s)
        if why is not None:
            _logger.warning(
                "compilespan: failed to %s the compile cache at %s: %s. The program continues "
                "without it.",
                *(what, self._place.shown, why),
            )
        if count:
            _logger.info(
                "compilespan: %s the compile cache at %s: %d files (%.1f MB) in %.1f s",
                "fetched from" if what == "fetch" else "published to",
                *(self._place.shown, count, size / 1e6, spent_s),
            )
        return Moved(count, size, why)

    def _store(self) -> Store:
        """Return the store.

        Raises:
            CacheError: Code from it must not be loaded.
        """
        return self._place.trusted(is_unsigned_allowed=self._is_unsigned_allowed)

    def _space(self, store: Store) -> tuple[Space, Mapping[str, str]]:
        """Return the namespace of this environment, and its facts."""
        facts = namespace.facts()
        return Space(store, self._place.key, namespace.digest(facts)), facts

    def _fetch(self, store: Store, deadline_s: float) -> Iterator[Entry]:
        space, facts = self._space(store)
        named = space.manifests(deadline_s)
        known_keys.elsewhere = None if named else nearest(store, self._place.key, facts, deadline_s)
        named, quarantined, self.publications.others = sound(
            space, self._notes(space), named, deadline_s
        )
        self.uses.quarantined(quarantined)
        manifests = list(named.values())
        self.publications.update(named)
        for each in reversed(manifests):
            self._seconds.update(each.seconds)
        try:
            if manifests:
                yield from fetch(space, manifests, deadline_s)
        finally:
            directories = {root.name: root.find() for root in ROOTS}
            listed = {each for manifest in manifests for each in manifest.entries}
            for entry in listed:  # what was left out is published again when it is built
                directory = directories.get(entry.root)
                if directory is not None and (directory / entry.path).exists():
                    self._known.add(entry)

    def _publish(
        self, since_ns: int, compile_s: float, store: Store, deadline_s: float
    ) -> Iterator[Entry]:
        space, facts = self._space(store)
        self._seconds.update(seconds_of_graphs())
        is_new = False
        for entry in publish(
            space, facts, self._known, since_ns, compile_s, self._seconds, deadline_s
        ):
            is_new = True
            yield entry
        if is_new:
            within(deadline_s, lambda: note(store, self._place.key, facts))
