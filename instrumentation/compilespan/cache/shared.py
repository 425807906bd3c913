"""Fetches what other replicas compiled, and publishes what this one built."""

from __future__ import annotations

import functools
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from compilespan.cache.errors import CacheError
from compilespan.cache.fetching import fetch
from compilespan.cache.publishing import publish
from compilespan.cache.signing import read_key
from compilespan.cache.space import Space
from compilespan.cache.store import Store
from compilespan.cache.trust import objection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from compilespan.cache.manifest import Entry

Mode = Literal["read", "write", "readwrite"]

TIMEOUT_S = 60.0
"""Seconds that a fetch or a publication may take."""

_logger = logging.getLogger("compilespan")


@dataclass(frozen=True, slots=True)
class Moved:
    """What was fetched or published.

    Attributes:
        entries: Number of files.
        bytes: Their size.
        seconds: How long it took.
        error: Why it ended early or did nothing; ``None`` if it did not.
    """

    entries: int = 0
    bytes: int = 0
    seconds: float = 0.0
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
            url: Any URL of fsspec.
            mode: Whether to fetch, to publish or both.
            key_file: File with the key that signs what is published; only what has its signature
                is loaded.
            is_unsigned_allowed: Whether to load what has no signature from any store. Without it
                and without a key only a directory of this user is used.
            timeout_s: Seconds that a fetch or a publication may take.

        Raises:
            CacheError: The URL or the key cannot be used.
        """
        self._store = Store(url)
        self._url = _without_password(url)
        self._mode = mode
        self._key = read_key(key_file) if key_file is not None else None
        self._is_unsigned_allowed = is_unsigned_allowed
        self._timeout_s = timeout_s
        self._known: set[Entry] = set()
        """Entries that are in the store."""

    def fetch(self) -> Moved:
        """Fetch what fits this environment and is not here; imports torch."""
        if self._mode == "write":
            return Moved()
        moved = self._moved(self._fetch, "fetch")
        if moved.entries:
            _logger.info(
                "compilespan: fetched %d entries (%.1f MB) of the compile cache in %.1f s from %s",
                *(moved.entries, moved.bytes / 1e6, moved.seconds, self._url),
            )
        return moved

    def publish(self, since_ns: int, compile_s: float) -> Moved:
        """Publish the entries that were written since a moment.

        Args:
            since_ns: In nanoseconds since the epoch, by this machine's clock.
            compile_s: Seconds of compiles that it took to build them.
        """
        if self._mode == "read":
            return Moved()
        moved = self._moved(functools.partial(self._publish, since_ns, compile_s), "publish")
        if moved.entries:
            _logger.info(
                "compilespan: published %d entries (%.1f MB) of the compile cache in %.1f s to %s",
                *(moved.entries, moved.bytes / 1e6, moved.seconds, self._url),
            )
        return moved

    def _moved(self, move: Callable[[], Iterator[int]], what: str) -> Moved:
        """Run a transfer that yields the size of each file; an error ends it with a warning."""
        began, count, size, why = time.monotonic(), 0, 0, None
        try:
            self._check_trust()
            for each in move():
                count, size = count + 1, size + each
        except (CacheError, OSError) as error:
            why = str(error)
        except Exception as error:  # a store may raise anything
            why = f"{type(error).__name__}: {error}"
        if why is not None:
            _logger.warning(
                "compilespan: failed to %s the compile cache at %s: %s. The start continues "
                "without it.",
                *(what, self._url, why),
            )
        return Moved(count, size, time.monotonic() - began, why)

    def _check_trust(self) -> None:
        if self._key is not None or self._is_unsigned_allowed:
            return
        why = objection(self._store.local_path if self._store.is_local else None)
        if why is not None:
            msg = (
                f"{why}. Sign it with COMPILESPAN_CACHE_KEY_FILE, or allow it with "
                "--cache-unsigned or COMPILESPAN_CACHE_UNSIGNED=1"
            )
            raise CacheError(msg)

    def _fetch(self) -> Iterator[int]:
        space = Space(self._store, self._key)
        manifests = space.manifests(self._timeout_s)
        self._known.update(entry for each in manifests for entry in each.entries)
        if manifests:
            yield from fetch(space, manifests, self._timeout_s)

    def _publish(self, since_ns: int, compile_s: float) -> Iterator[int]:
        space = Space(self._store, self._key)
        yield from publish(space, self._known, since_ns, compile_s, self._timeout_s)


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}" if separator else url
