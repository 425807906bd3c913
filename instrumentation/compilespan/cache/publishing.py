"""Publishes the entries that were written since a moment."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import itertools
import os
import stat
import time
from typing import TYPE_CHECKING

from compilespan.cache import namespace
from compilespan.cache.bounded import each_within, within
from compilespan.cache.leading import own_name
from compilespan.cache.manifest import MAX_ENTRIES, Entry, Manifest, is_path
from compilespan.cache.roots import ROOTS, entries

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from compilespan.cache.roots import LocalEntry
    from compilespan.cache.space import Space

_CLOCK_NS = 2_000_000_000
"""File systems round the time of a change, to two seconds at most."""


def publish(
    space: Space,
    facts: Mapping[str, str],
    known: set[Entry],
    since_ns: int,
    compile_s: float,
    seconds: Mapping[str, float],
    deadline_s: float,
) -> Iterator[Entry]:
    """Publish what was written since a moment; yield each new entry.

    Files of other users, or that everybody can write, and libraries that are being written are
    left out.

    Args:
        space: Where to.
        facts: Of its namespace.
        known: What is there and here; extended.
        since_ns: The moment, in nanoseconds since the epoch.
        compile_s: Seconds of compiles that it took.
        seconds: Seconds that each graph took, by cache key.
        deadline_s: By ``time.monotonic()``.

    Raises:
        CacheError: The store failed or was not done by then. Then no manifest lists what was
            written.
    """
    new = [
        functools.partial(_publish_one, space, known, each, directory)
        for root in ROOTS
        if (directory := root.find()) is not None
        for each in entries(root)
        if each.changed_ns >= since_ns - _CLOCK_NS and each.size and is_path(each.path)
    ]
    published = []
    for entry in each_within(deadline_s, new[:MAX_ENTRIES]):
        if entry is not None:
            published.append(entry)
            yield entry
    if not published:
        return
    listed = sorted({*published, *known}, key=lambda each: (each not in published, each.path))
    manifest = Manifest(
        facts,
        namespace.instruction_set(),
        own_name(),
        time.time_ns(),
        compile_s,
        len(published),
        dict(itertools.islice(seconds.items(), MAX_ENTRIES)),
        tuple(listed[:MAX_ENTRIES]),
    )
    within(deadline_s, lambda: space.add(manifest))  # last: what it lists is there
    known.update(published)


def _publish_one(
    space: Space, known: set[Entry], local: LocalEntry, directory: Path
) -> Entry | None:
    """Write an entry's content; return ``None`` if the store has it, or it is left out."""
    if _is_being_written(local, directory):
        return None
    try:
        descriptor = os.open(local.file, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            before = os.fstat(descriptor)
            data = file.read()
            after = os.fstat(descriptor)
    except OSError:  # it was removed
        return None
    is_own = before.st_uid == os.geteuid() and not before.st_mode & stat.S_IWOTH
    is_whole = (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, len(data))
    if not (is_own and is_whole and stat.S_ISREG(before.st_mode)):
        return None
    is_executable = bool(before.st_mode & stat.S_IXUSR)
    digest = hashlib.sha256(data).hexdigest()
    entry = Entry(local.root, local.path, digest, len(data), is_executable)
    if entry in known:
        return None
    space.add_content(entry, data)
    return entry


def _is_being_written(local: LocalEntry, directory: Path) -> bool:
    """Whether a compiler may be writing it: inductor locks a library by the name of its source."""
    lock = directory / "locks" / f"{local.file.name.partition('.')[0]}.lock"
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
