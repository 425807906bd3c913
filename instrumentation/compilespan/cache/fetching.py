"""Fetches entries that are not here, checks them, and writes them where torch looks."""

from __future__ import annotations

import functools
import hashlib
import logging
import time
from typing import TYPE_CHECKING

from compilespan.cache import namespace
from compilespan.cache.local import place
from compilespan.cache.roots import ROOTS, is_graph
from compilespan.cache.store import each_within

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from compilespan.cache.manifest import Entry, Manifest
    from compilespan.cache.space import Space

MAX_BYTES = 8 * 2**30
"""Bytes that one process fetches at most."""
_MIN_FETCH_S = 5.0

_logger = logging.getLogger("compilespan")


def fetch(space: Space, manifests: list[Manifest], timeout_s: float) -> Iterator[int]:
    """Fetch what manifests list; yield the size of each file that is written.

    An entry whose content is missing or changed is left out, with a warning.

    Raises:
        CacheError: The store failed, or took longer than ``timeout_s`` or than compiling took its
            builders. What was written by then stays.
    """
    cost_s = max(_MIN_FETCH_S, sum(each.compile_s for each in manifests))
    deadline_s = time.monotonic() + min(timeout_s, cost_s)
    # Code first: with the libraries of others torch finds the instruction set without a build.
    code = [e for manifest in manifests for e in manifest.entries if not is_graph(e.path)]
    yield from _fetch(space, code, deadline_s)
    instruction_set = namespace.instruction_set()
    fitting = [each for each in manifests if each.instruction_set == instruction_set]
    graphs = [e for manifest in fitting for e in manifest.entries if is_graph(e.path)]
    yield from _fetch(space, graphs, deadline_s)


def _fetch(space: Space, wanted: Iterable[Entry], deadline_s: float) -> Iterator[int]:
    directories = {root.name: root.find() for root in ROOTS}
    todo: dict[Path, functools.partial[int | None]] = {}
    left = MAX_BYTES
    for each in wanted:
        directory = directories.get(each.root)
        if directory is None or (file := directory / each.path) in todo or file.exists():
            continue
        if each.size <= left:
            left -= each.size
            todo[file] = functools.partial(_fetch_one, space, each, directory)
    for size in each_within(max(0.0, deadline_s - time.monotonic()), todo.values()):
        if size is not None:
            yield size


def _fetch_one(space: Space, entry: Entry, directory: Path) -> int | None:
    try:
        data = space.content(entry)
    except FileNotFoundError:
        data = b""
    if len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.digest:
        _logger.warning(
            "compilespan: the cache entry %s is left out: its content in the store is missing, "
            "torn or changed",
            entry.path,
        )
        return None
    place(directory, entry, data)
    return entry.size
