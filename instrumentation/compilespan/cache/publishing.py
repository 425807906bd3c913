"""Publishes the entries that this process built."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import time
from typing import TYPE_CHECKING

from compilespan.cache import namespace
from compilespan.cache.manifest import MAX_ENTRIES, Entry, Manifest
from compilespan.cache.roots import ROOTS, entries
from compilespan.cache.store import each_within, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compilespan.cache.roots import LocalEntry
    from compilespan.cache.space import Space

_CLOCK_NS = 1_000_000_000
"""File systems round the time of a change, to two seconds at most."""


def publish(
    space: Space, known: set[Entry], since_ns: int, compile_s: float, timeout_s: float
) -> Iterator[int]:
    """Publish what was written since a moment; yield the size of each new file.

    Args:
        space: Where to.
        known: What is there; extended.
        since_ns: The moment, in nanoseconds since the epoch.
        compile_s: Seconds of compiles that it took.
        timeout_s: Seconds that this may take.

    Raises:
        CacheError: The store failed or took too long. Then no manifest lists what was written.
    """
    local = [each for root in ROOTS for each in entries(root)]
    new = [each for each in local if each.changed_ns >= since_ns - _CLOCK_NS][:MAX_ENTRIES]
    published = []
    calls = [functools.partial(_publish_one, space, known, each) for each in new]
    for entry in each_within(timeout_s, calls):
        if entry is not None:
            published.append(entry)
            yield entry.size
    if not published:
        return
    manifest = Manifest(
        space.facts,
        namespace.instruction_set(),
        f"{platform.node()}:{os.getpid()}",
        time.time_ns(),
        compile_s,
        tuple(sorted(published, key=lambda each: (each.root, each.path))),
    )
    within(timeout_s, lambda: space.add(manifest))  # last: what it lists is there
    known.update(published)


def _publish_one(space: Space, known: set[Entry], local: LocalEntry) -> Entry | None:
    """Write an entry's content; return ``None`` if the store has it already."""
    data = local.file.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    entry = Entry(local.root, local.path, digest, len(data), local.is_executable)
    if entry in known:
        return None
    space.add_content(entry, data)
    return entry
