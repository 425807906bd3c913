"""The part of a store that fits this environment: manifests, and the files that they list."""

from __future__ import annotations

import functools
import logging
import secrets
from typing import TYPE_CHECKING

from compilespan.cache import namespace
from compilespan.cache.errors import CacheError
from compilespan.cache.manifest import decoded
from compilespan.cache.store import each_within, within

if TYPE_CHECKING:
    from compilespan.cache.manifest import Entry, Manifest
    from compilespan.cache.store import Store

MAX_MANIFESTS = 256
_MAX_MANIFEST_BYTES = 64 * 2**20

_logger = logging.getLogger("compilespan")


class Space:
    """The namespace of this environment in a store."""

    def __init__(self, store: Store, key: bytes | None) -> None:
        """Read nothing yet; imports torch.

        Args:
            store: Where it is.
            key: Signs what is written; only manifests with its signature are read. ``None`` reads
                all of them.
        """
        self.store = store
        self.facts = namespace.facts()
        self._name = namespace.digest(self.facts)
        self._key = key

    def manifests(self, timeout_s: float) -> list[Manifest]:
        """Return the valid manifests, the newest first, at most `MAX_MANIFESTS`.

        Raises:
            CacheError: The store did not answer in time, or with an error.
        """
        names = within(timeout_s, lambda: self.store.names(f"{self._name}/manifests/"))
        names = names[: -MAX_MANIFESTS - 1 : -1]
        found = []
        for name, data in each_within(timeout_s, [functools.partial(self._read, n) for n in names]):
            try:
                found.append(decoded(data, self._name, self._key))
            except CacheError as error:
                _logger.warning("compilespan: the cache manifest %s is ignored: %s", name, error)
        return sorted(found, key=lambda each: each.created_ns, reverse=True)

    def _read(self, name: str) -> tuple[str, bytes]:
        return name, self.store.read(name, _MAX_MANIFEST_BYTES)

    def add(self, manifest: Manifest) -> None:
        """Write a manifest; everything that it lists must be there."""
        name = f"{self._name}/manifests/{manifest.created_ns:020d}-{secrets.token_hex(4)}.json"
        self.store.write(name, manifest.encoded(self._name, self._key))

    def content(self, entry: Entry) -> bytes:
        """Return the content of an entry, unchecked, and no more than one byte above its size."""
        return self.store.read(self._blob(entry), entry.size)

    def add_content(self, entry: Entry, data: bytes) -> None:
        """Write the content of an entry, unless it is there."""
        if not self.store.exists(self._blob(entry)):
            self.store.write(self._blob(entry), data)

    def _blob(self, entry: Entry) -> str:
        return f"{self._name}/blobs/{entry.digest[:2]}/{entry.digest}"
