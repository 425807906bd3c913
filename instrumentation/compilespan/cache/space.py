"""The part of a store that fits this environment: manifests, and the files that they list."""

from __future__ import annotations

import functools
import logging
import secrets
from typing import TYPE_CHECKING

from compilespan.cache import namespace
from compilespan.cache.bounded import each_within, within
from compilespan.cache.manifest import decoded

if TYPE_CHECKING:
    from compilespan.cache.manifest import Entry, Manifest
    from compilespan.cache.store import Store

MAX_MANIFESTS = 64
"""The newest ones are read; each lists what its builder knew, too."""
_MAX_MANIFEST_BYTES = 8 * 2**20

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
        self._store = store
        self.facts = namespace.facts()
        self._name = namespace.digest(self.facts)
        self._key = key

    def manifests(self, deadline_s: float) -> list[Manifest]:
        """Return the valid manifests, the newest first, at most `MAX_MANIFESTS`.

        Args:
            deadline_s: By ``time.monotonic()``.

        Raises:
            CacheError: The store failed, or did not answer in time.
        """
        names = within(deadline_s, lambda: self._store.names(f"{self._name}/manifests/"))
        names = [name for name in names if name.endswith(".json")][: -MAX_MANIFESTS - 1 : -1]
        read = [functools.partial(self._manifest, name) for name in names]
        found = [each for each in each_within(deadline_s, read) if each is not None]
        return sorted(found, key=lambda each: each.created_ns, reverse=True)

    def _manifest(self, name: str) -> Manifest | None:
        try:
            data = self._store.read(name, _MAX_MANIFEST_BYTES)
            return decoded(data, self._name, self._key)
        except Exception as error:  # a store may raise anything
            _logger.warning("compilespan: the cache manifest %s is ignored: %s", name, error)
            return None

    def add(self, manifest: Manifest) -> None:
        """Write a manifest; everything that it lists must be there."""
        name = f"{self._name}/manifests/{manifest.created_ns:020d}-{secrets.token_hex(4)}.json"
        self._store.write(name, manifest.encoded(self._name, self._key))

    def content(self, entry: Entry) -> bytes:
        """Return the content of an entry, unchecked, and no more than one byte above its size."""
        return self._store.read(self._blob(entry), entry.size)

    def add_content(self, entry: Entry, data: bytes) -> None:
        """Write the content of an entry; this repairs one that was torn or lost."""
        self._store.write(self._blob(entry), data)

    def _blob(self, entry: Entry) -> str:
        return f"{self._name}/blobs/{entry.digest[:2]}/{entry.digest}"
