"""Fetches entries that are not here, checks them, and writes them where torch looks."""

from __future__ import annotations

import functools
import hashlib
import logging
import time
from typing import TYPE_CHECKING

from compilespan.cache import namespace
from compilespan.cache.bounded import each_within
from compilespan.cache.errors import in_words
from compilespan.cache.local import place
from compilespan.cache.roots import ROOTS, is_graph

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from compilespan.cache.manifest import Entry, Manifest
    from compilespan.cache.space import Space

MAX_BYTES = 4 * 2**30
"""Bytes of code, and of graphs, that one process fetches at most."""
_MIN_FETCH_S = 5.0

_logger = logging.getLogger("compilespan")


def fetch(space: Space, manifests: list[Manifest], deadline_s: float) -> Iterator[Entry]:
    """Fetch what manifests list; yield each entry that was written.

    An entry whose content is missing or changed is left out, with a warning.

    Args:
        space: Where from.
        manifests: What is there.
        deadline_s: By ``time.monotonic()``.

    Raises:
        CacheError: The store failed, was not done by then, or took longer than compiling took its
            builders. What was written by then stays.
    """
    left_s = max(_MIN_FETCH_S, sum(each.compile_s for each in manifests))
    began_s = time.monotonic()
    # Code first: with the libraries of others torch finds the instruction set without a build.
    code = [e for manifest in manifests for e in manifest.entries if not is_graph(e.path)]
    yield from _fetch(space, code, min(deadline_s, began_s + left_s))
    left_s -= time.monotonic() - began_s
    instruction_set = namespace.instruction_set()
    fitting = [each for each in manifests if each.instruction_set == instruction_set]
    graphs = [e for manifest in fitting for e in manifest.entries if is_graph(e.path)]
    yield from _fetch(space, graphs, min(deadline_s, time.monotonic() + left_s))


def _fetch(space: Space, wanted: Iterable[Entry], deadline_s: float) -> Iterator[Entry]:
    directories = {root.name: root.find() for root in ROOTS}
    todo: dict[Path, functools.partial[Entry | None]] = {}
    left = MAX_BYTES
    for each in wanted:
        directory = directories.get(each.root)
        if directory is None or (file := directory / each.path) in todo or file.exists():
            continue
        if each.size <= left:
            left -= each.size
            todo[file] = functools.partial(_fetch_one, space, each, directory)
    for entry in each_within(deadline_s, todo.values()):
        if entry is not None:
            yield entry


def _fetch_one(space: Space, entry: Entry, directory: Path) -> Entry | None:
    try:
        data = space.content(entry)
        why = None if _is_whole(data, entry) else "its content is torn or changed"
    except Exception as error:  # a store may raise anything
        why = in_words(error)
    if why is not None:
        _logger.warning("compilespan: the cache entry %s is left out: %s", entry.path, why)
        return None
    place(directory, entry, data)
    return entry


def _is_whole(data: bytes, entry: Entry) -> bool:
    return len(data) == entry.size and hashlib.sha256(data).hexdigest() == entry.digest
