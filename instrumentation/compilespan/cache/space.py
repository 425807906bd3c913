"""The part of a store for one environment: manifests, and the files that they list."""

from __future__ import annotations

import functools
import logging
import secrets
import zlib
from typing import TYPE_CHECKING

from compilespan.cache.bounded import each_within, within
from compilespan.cache.errors import CacheError
from compilespan.cache.manifest import decoded
from compilespan.cache.signing import sealed, unsealed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from compilespan.cache.manifest import Entry, Manifest
    from compilespan.cache.store import Store

MANIFESTS = "manifests/"
BLOBS = "blobs/"
QUARANTINE = "quarantine/"
"""Manifests of what made starts die or fail."""
MAX_MANIFESTS = 64
"""The newest ones are read; each lists what its builder knew, too."""
_MAX_MANIFEST_BYTES = 8 * 2**20
_MAX_SEALED_BYTES = 2**16

_logger = logging.getLogger("compilespan")


class Space:
    """A namespace in a store."""

    def __init__(self, store: Store, key: bytes | None, name: str) -> None:
        """Read nothing yet.

        Args:
            store: Where it is.
            key: Signs what is written; only manifests with its signature are read. ``None`` reads
                all of them.
            name: Of the namespace, from `namespace.digest`.
        """
        self._store = store
        self._name = name
        self._key = key

    def manifests(
        self, deadline_s: float, most: int | None = MAX_MANIFESTS, folder: str = MANIFESTS
    ) -> dict[str, Manifest]:
        """Return the valid manifests by name, the newest first.

        Args:
            deadline_s: By ``time.monotonic()``.
            most: Number of files that are read at most; ``None`` for all.
            folder: Where they are.

        Raises:
            CacheError: The store failed, or did not answer in time.
        """
        names = within(deadline_s, lambda: self.names(folder))
        names = [name for name in reversed(names) if name.endswith(".json")][:most]
        read = [functools.partial(self._manifest, name) for name in names]
        found = [each for each in each_within(deadline_s, read) if each is not None]
        return dict(sorted(found, key=lambda each: each[1].created_ns, reverse=True))

    def _manifest(self, name: str) -> tuple[str, Manifest] | None:
        try:
            data = self._store.read(f"{self._name}/{name}", _MAX_MANIFEST_BYTES)
            return name, decoded(data, self._name, self._key)
        except Exception as error:  # a store may raise anything
            _logger.warning("compilespan: the cache manifest %s is ignored: %s", name, error)
            return None

    def add(self, manifest: Manifest, name: str | None = None) -> None:
        """Write a manifest, or replace one; everything that it lists must be there."""
        name = name or f"{MANIFESTS}{manifest.created_ns:020d}-{secrets.token_hex(4)}.json"
        self._store.write(f"{self._name}/{name}", manifest.encoded(self._name, self._key))

    def names(self, folder: str) -> list[str]:
        """Return the names of the files below a folder of this namespace, sorted."""
        prefix = f"{self._name}/"
        return [each.removeprefix(prefix) for each in self._store.names(prefix + folder)]

    def create(self, name: str) -> bool:
        """Create an empty file; ``False`` if it exists.

        Raises:
            CacheError: This store cannot tell.
        """
        return self._store.create(f"{self._name}/{name}")

    def read(self, name: str) -> Any:
        """Return the content of a small sealed file; raises anything if there is none."""
        scope = f"{self._name}/{name}"
        return unsealed(self._store.read(scope, _MAX_SEALED_BYTES), self._key, scope)

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a small sealed file."""
        scope = f"{self._name}/{name}"
        self._store.write(scope, sealed(content, self._key, scope))

    def mark(self, name: str) -> None:
        """Write an empty file."""
        self._store.write(f"{self._name}/{name}", b"")

    def age_s(self, name: str) -> float | None:
        """Return the seconds since a file was written; ``None`` if the store does not tell."""
        return self._store.age_s(f"{self._name}/{name}")

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""
        self._store.remove(f"{self._name}/{name}")

    def content(self, entry: Entry) -> bytes:
        """Return the content of an entry, unchecked, and no more than one byte above its size.

        Raises:
            CacheError: It is torn. A store may raise anything.
        """
        # What cannot be compressed gets a little larger.
        packed = self._store.read(f"{self._name}/{blob(entry)}", entry.size + entry.size // 64 + 64)
        try:
            return zlib.decompressobj().decompress(packed, entry.size + 1)
        except zlib.error as error:
            msg = "its content is torn or changed"
            raise CacheError(msg) from error

    def add_content(self, entry: Entry, data: bytes) -> None:
        """Write the content of an entry; this repairs one that was torn or lost."""
        self._store.write(f"{self._name}/{blob(entry)}", zlib.compress(data, 1))


def blob(entry: Entry) -> str:
    """Return the name of an entry's content in its namespace."""
    return f"{BLOBS}{entry.digest[:2]}/{entry.digest}"
