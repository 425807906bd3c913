"""The part of a store for one environment: manifests, and the files that they list."""

from __future__ import annotations

import functools
import json
import logging
import re
import secrets
import zlib
from typing import TYPE_CHECKING

from compilespan.cache.bounded import each_within, within
from compilespan.cache.errors import CacheError, in_words
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
_MANIFEST = re.compile(r"\d{20}-[0-9a-f]{8}\.json")

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
        self,
        deadline_s: float,
        most: int | None = MAX_MANIFESTS,
        folder: str = MANIFESTS,
        *,
        is_strict: bool = False,
    ) -> dict[str, Manifest]:
        """Return the valid manifests by name, the newest first.

        Args:
            deadline_s: By ``time.monotonic()``.
            most: Number of files that are read at most; ``None`` for all.
            folder: Where they are.
            is_strict: Whether each must be valid; else the others are ignored with a warning.

        Raises:
            CacheError: The store failed, or did not answer in time; one is not valid.
        """
        names = within(deadline_s, lambda: self.names(folder))
        names = [name for name in reversed(names) if _is_manifest(name, folder)][:most]
        read = [functools.partial(self._manifest, name) for name in names]
        found: dict[str, Manifest] = {}
        ignored: list[str] = []
        for name, manifest in each_within(deadline_s, read):
            if isinstance(manifest, str):
                ignored.append(f"{name}: {manifest}")
            else:
                found[name] = manifest
        if ignored:
            count = f" (and {len(ignored) - 1} more)" if len(ignored) > 1 else ""
            if is_strict:
                msg = f"{ignored[0]}{count}; give the right key, or remove it"
                raise CacheError(msg)
            _logger.warning("compilespan: ignored of the compile cache: %s%s", ignored[0], count)
        return dict(sorted(found.items(), key=lambda each: each[1].created_ns, reverse=True))

    def _manifest(self, name: str) -> tuple[str, Manifest | str]:
        """Return a name and its manifest, or why there is none."""
        scope = f"{self._name}/{name}"
        try:
            return name, decoded(self._store.read(scope, _MAX_MANIFEST_BYTES), scope, self._key)
        except Exception as error:  # a store may raise anything
            return name, in_words(error)

    def is_signed(self, name: str) -> bool:
        """Whether a manifest has any signature; a store may raise anything."""
        data = self._store.read(f"{self._name}/{name}", _MAX_MANIFEST_BYTES)
        return json.loads(data)["signature"] is not None

    def add(self, manifest: Manifest, name: str | None = None) -> None:
        """Write a manifest, or replace one; everything that it lists must be there."""
        name = name or f"{MANIFESTS}{manifest.created_ns:020d}-{secrets.token_hex(4)}.json"
        scope = f"{self._name}/{name}"
        self._store.write(scope, manifest.encoded(scope, self._key))

    @property
    def has_key(self) -> bool:
        """Whether what is written is signed."""
        return self._key is not None

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


def _is_manifest(name: str, folder: str) -> bool:
    return name.startswith(folder) and _MANIFEST.fullmatch(name, len(folder)) is not None


def blob(entry: Entry) -> str:
    """Return the name of an entry's content in its namespace."""
    return f"{BLOBS}{entry.digest[:2]}/{entry.digest}"
