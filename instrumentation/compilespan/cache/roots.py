"""The directories of the compile caches, whose entries are whole files named by their content.

The path of the builder's directory stands inside some entries of inductor; torch does not use it.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from compilespan.dynamo import private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NO_ENTRY = re.compile(r"^\.|^tmp\.|\.lock$|\.tmp$")
"""Names of temporary files and folders; ``.tmp`` follows a pid and a thread id."""
_NO_FOLDER = frozenset({"locks", "dynamo", "precompiled_headers", "triton"})
"""Folders without entries: lock files; the profile of dynamic shapes, which changes; headers, which
are a root of their own; and Triton's groups, which contain paths of their builder: graphs contain
their Triton kernels, and torch writes them there."""
_GRAPHS = frozenset({"fxgraph", "aotautograd"})


@dataclass(frozen=True, slots=True)
class Root:
    """A directory with entries of a compile cache.

    Attributes:
        name: Its name in the store.
        find: Returns the directory on this machine; ``None`` if it has none.
    """

    name: str
    find: Callable[[], Path | None]


@dataclass(frozen=True, slots=True)
class LocalEntry:
    """A file in a root.

    Attributes:
        root: The name of the root.
        path: Its path below the root, with slashes.
        file: Where it is.
        size: Its size in bytes.
        changed_ns: When it was written, in nanoseconds since the epoch.
    """

    root: str
    path: str
    file: Path
    size: int
    changed_ns: int


def is_graph(path: str) -> bool:
    """Whether an entry is a graph, and not code that graphs refer to."""
    return path.partition("/")[0] in _GRAPHS


def graph_key(path: str) -> tuple[str, str] | None:
    """Return the cache and the key of a graph's entry; ``None`` for code."""
    cache, *rest = path.split("/")
    position = {"aotautograd": 0, "fxgraph": 1}.get(cache)
    return (cache, rest[position]) if position is not None and len(rest) > position else None


def entries(root: Root) -> Iterator[LocalEntry]:
    """Yield the entries of a root; links and temporary files are none."""
    directory = root.find()
    if directory is not None:
        yield from _entries(root.name, directory, "")


def _entries(root: str, directory: Path, prefix: str) -> Iterator[LocalEntry]:
    try:
        found = sorted(os.scandir(directory), key=lambda each: each.name)
    except OSError:
        return
    for each in found:
        if _NO_ENTRY.search(each.name):
            continue
        try:
            status = each.stat(follow_symlinks=False)
        except OSError:
            continue
        path = prefix + each.name
        if stat.S_ISDIR(status.st_mode) and path not in _NO_FOLDER:
            yield from _entries(root, Path(each.path), f"{path}/")
        elif stat.S_ISREG(status.st_mode):
            yield LocalEntry(
                root,
                path,
                Path(each.path),
                status.st_size,
                status.st_mtime_ns,
            )


def _inductor() -> Path | None:
    if given := os.environ.get("TORCHINDUCTOR_CACHE_DIR"):
        return Path(given)
    import_module(private.CACHE_DIRECTORY.module)
    find = private.CACHE_DIRECTORY.found()
    return Path(find()) if find is not None else None


def _headers() -> Path | None:
    """Return the directory of the precompiled headers, which no variable moves.

    Each process that loads C++ builds those that are missing, even if it builds nothing else.
    """
    import_module(private.HEADER_DIRECTORY.module)
    directory = private.HEADER_DIRECTORY.found()
    return Path(directory) if directory is not None else None


ROOTS = (Root("inductor", _inductor), Root("headers", _headers))
"""All directories that travel; another kernel cache is one more row."""
