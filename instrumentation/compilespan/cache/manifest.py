"""Manifests: what one process published, as a signed file that lists content-addressed entries."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from compilespan.cache.errors import CacheError
from compilespan.cache.signing import sealed, unsealed

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = 1
MAX_ENTRIES = 20_000
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PART = re.compile(r"[A-Za-z0-9_+=-][A-Za-z0-9_.+=-]{0,254}")
_MAX_PARTS = 16
_MAX_KEY = 200
_MAX_NS = 2**63
INVALID = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError)
"""What the values of a torn or foreign file raise."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a compile cache in the store.

    Attributes:
        root: Name of the directory that it belongs to.
        path: Its path below that directory, with slashes.
        digest: SHA-256 of its content, in hexadecimal digits; its name in the store.
        size: Its size in bytes.
        is_executable: Whether its owner may execute it.
    """

    root: str
    path: str
    digest: str
    size: int
    is_executable: bool


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one process published.

    Attributes:
        facts: The facts of its namespace.
        instruction_set: What its C++ was compiled for.
        builder: Who published it, for people.
        created_ns: When, in nanoseconds since the epoch of that machine.
        compile_s: Seconds of compiles that it took to build the entries.
        published: Number of entries that it added: the first ones. The others are those that its
            builder knew.
        seconds: Seconds that it took to build each graph, by cache key, as far as is known.
        entries: The files.
    """

    facts: Mapping[str, str]
    instruction_set: str
    builder: str
    created_ns: int
    compile_s: float
    published: int
    seconds: Mapping[str, float]
    entries: tuple[Entry, ...]

    @property
    def added(self) -> tuple[Entry, ...]:
        """The entries that it added."""
        return self.entries[: self.published]

    def encoded(self, scope: str, key: bytes | None) -> bytes:
        """Return the file of the store, signed if there is a key; ``scope`` is its whole name."""
        return sealed({"schema": SCHEMA, **asdict(self)}, key, scope)


def decoded(data: bytes, scope: str, key: bytes | None) -> Manifest:
    """Return the manifest in a file of the store.

    Args:
        data: The file.
        scope: Its whole name.
        key: Whose signature it must have; ``None`` accepts any manifest.

    Raises:
        CacheError: It is not signed with the key, or not a valid manifest.
    """
    try:
        return _manifest(unsealed(data, key, scope))
    except INVALID as error:
        msg = "it is torn or not a manifest"
        raise CacheError(msg) from error


def is_path(path: str) -> bool:
    """Whether a path stays in its directory, and has only usual characters."""
    parts = path.split("/")
    return len(parts) <= _MAX_PARTS and all(map(_PART.fullmatch, parts))


def _manifest(values: dict[str, Any]) -> Manifest:
    counts = (len(values["entries"]), len(values["seconds"]))
    if values["schema"] != SCHEMA or max(counts) > MAX_ENTRIES:
        msg = "its schema is not known, or it has too many entries"
        raise CacheError(msg)
    return Manifest(
        {str(name): str(value) for name, value in values["facts"].items()},
        str(values["instruction_set"]),
        str(values["builder"])[:200],
        _moment(values["created_ns"]),
        float(values["compile_s"]),
        int(values["published"]),
        {str(key)[:_MAX_KEY]: float(each) for key, each in values["seconds"].items()},
        tuple(map(_entry, values["entries"])),
    )


def _moment(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _MAX_NS:
        msg = f"{value!r} is no moment"
        raise CacheError(msg)
    return value


def _entry(values: dict[str, Any]) -> Entry:
    root, path, digest = str(values["root"]), str(values["path"]), str(values["digest"])
    size = int(values["size"])
    if not is_path(path) or not _DIGEST.fullmatch(digest) or size < 0:
        msg = f"the entry {path!r} leaves its directory or is not valid"
        raise CacheError(msg)
    return Entry(root, path, digest, size, bool(values["is_executable"]))
