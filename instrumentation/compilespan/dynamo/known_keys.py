"""The keys that have entries in torch's cache, and which of them is nearest to one that has none.

What a key consists of is kept beside the entry, in ``compilespan/`` in inductor's cache directory,
so it travels with the cache: in an image, on a volume, or through the shared cache.
"""

from __future__ import annotations

import json
import os
import re
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from compilespan import semconv
from compilespan.dynamo import key_parts, private
from compilespan.dynamo.key_difference import THE_GRAPH, are_same_graph, differences, distance
from compilespan.process import fork_safe_lock, instance_id, process_age_ns
from compilespan.process.faults import contained
from compilespan.telemetry.identity import torch_version

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = "compilespan"
MAX_BYTES = 16 * 2**10
"""Size of one key's components in a file."""
MAX_READ = 128
"""The newest keys are compared."""
MAX_KEPT = 1024
"""Keys in a directory; the oldest ones are removed."""
_SUFFIX = ".key"
_ABANDONED_NS = 3_600 * 10**9
_MAX_TEXT = 2**20
_KEY = re.compile(r"[A-Za-z0-9_-]{1,200}")
_FOLDED = (key_parts.ARGUMENT, key_parts.AUTOGRAD_CONFIG, key_parts.CONFIG)
"""What is kept as one digest if a file would be too large, in this order."""
_FOREIGN = (OSError, ValueError, TypeError, AttributeError, RecursionError, zlib.error)


class Key(NamedTuple):
    """A cache key: who looked it up, and its values by component."""

    torch: str
    name: str
    instance: str
    parts: Mapping[str, str]


class LookedUp(NamedTuple):
    """A key that was looked up: its values by component, and when (ns since the epoch)."""

    key: str
    parts: Mapping[str, str]
    at_ns: int


class KnownKeys:
    """The keys of earlier starts and of other machines, and those that this process adds."""

    def __init__(self) -> None:
        """Read nothing before the first miss."""
        self._lock = fork_safe_lock()
        self._read: dict[tuple[int, str], Key | None] = {}
        self.elsewhere: str | None = None
        """How this environment differs from those that a shared cache has entries for."""

    def why_missed(self, looked_up: LookedUp, name: str, *, is_kept: bool = True) -> str | None:
        """Return how a key differs from the nearest one that has an entry.

        Args:
            looked_up: The key, and when.
            name: Name of the compile.
            is_kept: Whether it has an entry now, so that it is kept for the next start.

        Returns:
            E.g. ``thread count 16 → 8``. ``None`` if no key of an earlier start is known.
        """
        directory = _directory()
        key, parts, at_ns = looked_up
        if directory is None or not parts or not _KEY.fullmatch(key):
            return None
        torch = torch_version() or ""
        with self._lock:
            known = self._known(directory, at_ns)
            if is_kept:
                with contained("keep a cache key"):  # in an image it may be read-only
                    _keep(directory / f"{key}{_SUFFIX}", Key(torch, name, instance_id(), parts))
        return _nearest(known, Key(torch, name, "", parts), key) or self.elsewhere

    def _known(self, directory: Path, until_ns: int) -> dict[str, Key]:
        """Return the keys of earlier starts by file name, the newest first.

        Args:
            directory: Where they are.
            until_ns: What was written later was no entry yet; nanoseconds since the epoch.
        """
        files = []
        for each in os.scandir(directory):
            with suppress(FileNotFoundError):  # another process removes it, too
                changed_ns = each.stat(follow_symlinks=False).st_mtime_ns
                if each.name.endswith(_SUFFIX) and each.is_file(follow_symlinks=False):
                    files.append((changed_ns, each.name))
                elif each.name.startswith(".") and time.time_ns() - changed_ns > _ABANDONED_NS:
                    Path(each.path).unlink()  # the draft of a process that died
        files.sort(reverse=True)
        for _, name in files[MAX_KEPT:]:
            (directory / name).unlink(missing_ok=True)
        read = self._read
        self._read = {
            each: read[each] if each in read else _decoded(directory / each[1])
            for each in files[:MAX_READ]
        }
        began_ns = time.time_ns() - process_age_ns()
        return {
            name: known
            for (changed_ns, name), known in self._read.items()
            if known is not None
            and changed_ns < until_ns
            and (known.instance != instance_id() or changed_ns < began_ns)
        }


def _directory() -> Path | None:
    """Return the directory of the keys; ``None`` if it cannot be had."""
    find = private.CACHE_DIRECTORY.found()
    if find is None:
        return None
    directory = Path(find()) / FOLDER
    with suppress(OSError):  # it may be read-only
        directory.mkdir(exist_ok=True)
    return directory if directory.is_dir() else None


def _nearest(known: Mapping[str, Key], wanted: Key, key: str) -> str | None:
    if f"{key}{_SUFFIX}" in known:
        return "same key: its entry is gone, was not stored, or was made for other sizes"
    named = [each for each in known.values() if each.name == wanted.name]
    same = [each for each in named if each.torch == wanted.torch]
    if not same:  # another program may use the directory, too
        return f"torch {named[0].torch} → {wanted.torch}" if named else None
    same = [each for each in same if are_same_graph(each.parts, wanted.parts)] or same
    pairs = [(each.parts, _folded_as(each.parts, wanted.parts)) for each in same]
    nearest = min(pairs, key=lambda pair: distance(*pair))  # of several the newest
    # torch's key may cover what its description leaves out: the graph before AOTAutograd.
    return semconv.text(", ".join(differences(*nearest) or [THE_GRAPH]))


def _folded_as(known: Mapping[str, str], parts: Mapping[str, str]) -> Mapping[str, str]:
    for component in _FOLDED:
        if component in known:
            parts = key_parts.folded(parts, component)
    return parts


def _keep(file: Path, key: Key) -> None:
    data = _encoded(key)
    if data is not None:
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            draft.write_bytes(data)
            draft.replace(file)
        finally:
            draft.unlink(missing_ok=True)


def _encoded(key: Key) -> bytes | None:
    """Return the content of a file; ``None`` if it would be too large."""
    parts = dict(key.parts)
    for many in (None, *_FOLDED):
        if many is not None:
            parts = key_parts.folded(parts, many)
        text = json.dumps(key._replace(parts=parts))
        if len(data := zlib.compress(text.encode(), 9)) <= MAX_BYTES:
            return data
    return None


def _decoded(file: Path) -> Key | None:
    """Return the key in a file; ``None`` if it is torn or not one of ours."""
    try:
        if file.stat().st_size > MAX_BYTES:
            return None
        text = zlib.decompressobj().decompress(file.read_bytes(), _MAX_TEXT)
        torch, name, instance, parts = json.loads(text)
        found = {str(each)[:200]: str(value)[:400] for each, value in parts.items()}
        return Key(str(torch)[:100], semconv.name(name), str(instance), found)
    except _FOREIGN:
        return None


known_keys = KnownKeys()
"""The keys of this process."""
