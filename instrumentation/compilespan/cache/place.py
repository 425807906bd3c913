"""Where a store is, and whether code from it may be loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compilespan.cache.errors import CacheError
from compilespan.cache.signing import read_key
from compilespan.cache.store import LocalStore, RemoteStore, Store, directory_of
from compilespan.cache.trust import objection

if TYPE_CHECKING:
    from pathlib import Path


class Place:
    """A URL and a key."""

    def __init__(self, url: str, key_file: Path | None) -> None:
        """Read the key, and connect to nothing yet.

        Args:
            url: A directory, or any URL of fsspec.
            key_file: File with the key of what is signed there.

        Raises:
            CacheError: The URL or the key cannot be used.
        """
        self._directory = directory_of(url)
        self._remote = RemoteStore(url) if self._directory is None else None
        self.shown = without_secrets(url)
        """The URL, for people."""
        self.key = read_key(key_file) if key_file is not None else None

    def trusted(self, *, is_unsigned_allowed: bool) -> Store:
        """Return the store, to load code from it.

        Args:
            is_unsigned_allowed: Whether to load what has no signature from any store.

        Raises:
            CacheError: Code from it must not be loaded.
        """
        is_trusted = self.key is not None or is_unsigned_allowed
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

    def store(self) -> Store:
        """Return the store, to list it and to remove from it.

        Raises:
            CacheError: It is a directory that does not exist.
        """
        if self._remote is not None:
            return self._remote
        assert self._directory is not None
        if not self._directory.is_dir():
            msg = f"{self.shown} is no directory"
            raise CacheError(msg)
        return LocalStore(self._directory.resolve(strict=True), is_checked=False)


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
