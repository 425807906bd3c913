"""Fetches what other replicas compiled, and publishes what this one built."""

from __future__ import annotations

import functools
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from compilespan.cache.bounded import within
from compilespan.cache.errors import CacheError
from compilespan.cache.fetching import fetch
from compilespan.cache.publishing import publish
from compilespan.cache.roots import ROOTS
from compilespan.cache.signing import read_key
from compilespan.cache.space import Space
from compilespan.cache.store import LocalStore, RemoteStore, Store, directory_of
from compilespan.cache.trust import objection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from compilespan.cache.manifest import Entry

Mode = Literal["read", "write", "readwrite"]

TIMEOUT_S = 60.0
"""Seconds that a fetch or a publication may wait for the store."""

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

        Raises:
            CacheError: The URL or the key cannot be used.
        """
        self._directory = directory_of(url)
        self._remote = RemoteStore(url) if self._directory is None else None
        self._url = without_secrets(url)
        self._mode = mode
        self._key = read_key(key_file) if key_file is not None else None
        self._is_unsigned_allowed = is_unsigned_allowed
        self._timeout_s = timeout_s
        self._known: set[Entry] = set()
        """Entries that are in the store and here."""

    def fetch(self) -> Moved:
        """Fetch what fits this environment and is not here; imports torch."""
        if self._mode == "write":
            return Moved()
        return self._moved("fetch", self._fetch, self._timeout_s)

    def publish(self, since_ns: int, compile_s: float, timeout_s: float | None = None) -> Moved:
        """Publish the entries that were written since a moment.

        Args:
            since_ns: In nanoseconds since the epoch, by this machine's clock.
            compile_s: Seconds of compiles that it took to build them.
            timeout_s: Seconds that it may wait for the store; defaults to those of the cache.
        """
        if self._mode == "read":
            return Moved()
        move = functools.partial(self._publish, since_ns, compile_s)
        return self._moved("publish", move, timeout_s or self._timeout_s)

    def _moved(
        self, what: str, move: Callable[[Store, float], Iterator[Entry]], timeout_s: float
    ) -> Moved:
        """Run a transfer; an error ends it with a warning."""
        began_s, count, size, why = time.monotonic(), 0, 0, None
        deadline_s = began_s + timeout_s
        try:
            for each in move(within(deadline_s, self._store), deadline_s):
                count, size = count + 1, size + each.size
        except Exception as error:  # torch's own functions may raise anything
            why = (
                str(error) if isinstance(error, CacheError) else f"{type(error).__name__}: {error}"
            )
            _logger.warning(
                "compilespan: failed to %s the compile cache at %s: %s. The program continues "
                "without it.",
                *(what, self._url, why),
            )
        if count:
            _logger.info(
                "compilespan: %s the compile cache at %s: %d files (%.1f MB) in %.1f s",
                *(what, self._url, count, size / 1e6, time.monotonic() - began_s),
            )
        return Moved(count, size, why)

    def _store(self) -> Store:
        """Return the store.

        Raises:
            CacheError: Code from it must not be loaded.
        """
        is_trusted = self._key is not None or self._is_unsigned_allowed
        if self._remote is not None:
            if not is_trusted:
                raise _refused("whoever can write to this store could run code here")
            return self._remote
        assert self._directory is not None
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = self._directory.resolve(strict=True)
        if not is_trusted and (why := objection(directory)) is not None:
            raise _refused(why)
        return LocalStore(directory, is_checked=not is_trusted)

    def _fetch(self, store: Store, deadline_s: float) -> Iterator[Entry]:
        space = Space(store, self._key)
        manifests = space.manifests(deadline_s)
        try:
            if manifests:
                yield from fetch(space, manifests, deadline_s)
        finally:
            directories = {root.name: root.find() for root in ROOTS}
            listed = {each for manifest in manifests for each in manifest.entries}
            for each in listed:  # what was left out is published again when it is built
                directory = directories.get(each.root)
                if directory is not None and (directory / each.path).exists():
                    self._known.add(each)

    def _publish(
        self, since_ns: int, compile_s: float, store: Store, deadline_s: float
    ) -> Iterator[Entry]:
        space = Space(store, self._key)
        yield from publish(space, self._known, since_ns, compile_s, deadline_s)


def _refused(why: str) -> CacheError:
    return CacheError(
        f"{why}. Sign it with COMPILESPAN_CACHE_KEY_FILE, or allow it with --cache-unsigned or "
        "COMPILESPAN_CACHE_UNSIGNED=1"
    )


def without_secrets(url: str) -> str:
    """Return a URL without user, password and query, for messages."""
    scheme, separator, rest = url.partition("://")
    shown = rest.rpartition("@")[2].partition("?")[0]
    return f"{scheme}{separator}{shown}" if separator else url
