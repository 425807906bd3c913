"""What is in a store, and the removal of what was not used for longest.

What one process added at a time, a publication, is kept or removed as a whole: which code a graph
refers to stands inside the graph. Processes mark the publications of the graphs that they use, with
the day. Days and ages only order what is removed; nothing else depends on clocks.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import time
from typing import TYPE_CHECKING

from compilespan.cache.bounded import each_within, within
from compilespan.cache.errors import CacheError
from compilespan.cache.roots import graph_key
from compilespan.cache.space import BLOBS, MANIFESTS, QUARANTINE, Space, blob
from compilespan.cache.trials import FAILURES, TRIALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from compilespan.cache.manifest import Entry, Manifest
    from compilespan.cache.store import Store

USED = "used/"
GRACE_S = 3_600.0
"""What no manifest lists is removed when it is older: somebody may be publishing it."""
DAY_S = 86_400.0
_NOTES = ("lease/", "probe/", TRIALS, FAILURES)


@dataclasses.dataclass(frozen=True, slots=True)
class Publication:
    """What one process added at a time.

    Attributes:
        name: Of its manifest.
        manifest: The manifest.
        used_ns: When it was published or last used, to the day; nanoseconds since the epoch.
    """

    name: str
    manifest: Manifest
    used_ns: int


@dataclasses.dataclass(frozen=True, slots=True)
class Contents:
    """What a namespace has.

    Attributes:
        space: The namespace.
        name: Its name.
        publications: The one that was not used for longest first.
        quarantine: Manifests of what nobody loads, by name.
    """

    space: Space
    name: str
    publications: tuple[Publication, ...]
    quarantine: Mapping[str, Manifest] = dataclasses.field(default_factory=dict)

    @property
    def facts(self) -> Mapping[str, str]:
        """What its entries depend on; empty without publications."""
        manifests = [each.manifest for each in self.publications]
        return next((each.facts for each in [*manifests, *self.quarantine.values()]), {})

    @property
    def entries(self) -> frozenset[Entry]:
        """All files that somebody added and that are not removed."""
        return _added(self.publications)

    @property
    def graphs(self) -> int:
        """Number of graphs; each has one entry in AOTAutograd's cache, or else in inductor's."""
        keys = {key for each in self.entries if (key := graph_key(each.path)) is not None}
        of_autograd = sum(cache == "aotautograd" for cache, _ in keys)
        return max(of_autograd, len(keys) - of_autograd)


def mark_used(space: Space, publication: str) -> None:
    """Mark a publication as used today; a store may raise anything."""
    space.mark(f"{_marks_of(publication)}/{_today():%Y%m%d}")


def contents(store: Store, key: bytes | None, deadline_s: float) -> list[Contents]:
    """Return what a store has, by namespace.

    Args:
        store: The store.
        key: Only manifests with its signature are read; ``None`` reads all.
        deadline_s: By ``time.monotonic()``.

    Raises:
        CacheError: The store failed, or did not answer in time.
    """
    files = within(deadline_s, lambda: store.names(""))
    spaces = sorted(
        {
            name.partition("/")[0]
            for name in files
            if name.partition("/")[2].startswith((MANIFESTS, QUARANTINE, BLOBS))
        }
    )
    return [_contents(Space(store, key, name), name, files, deadline_s) for name in spaces]


def _contents(space: Space, name: str, files: Iterable[str], deadline_s: float) -> Contents:
    days: dict[str, str] = {}
    for file in files:
        folder, _, day = file.removeprefix(f"{name}/").rpartition("/")
        if folder.startswith(USED) and day.isdecimal():
            days[folder] = max(day, days.get(folder, ""))
    publications = [
        Publication(manifest_name, manifest, max(manifest.created_ns, _ns_of(days.get(marks))))
        for manifest_name, manifest in space.manifests(deadline_s, most=None).items()
        if (marks := _marks_of(manifest_name))
    ]
    publications.sort(key=lambda each: each.used_ns)
    shut = space.manifests(deadline_s, most=None, folder=QUARANTINE)
    return Contents(space, name, tuple(publications), shut)


def removable(
    found: Iterable[Contents], max_bytes: float, since_ns: int
) -> dict[str, list[Publication]]:
    """Return the publications to remove, by namespace, so that a store gets small enough.

    Args:
        found: What the store has.
        max_bytes: Size of all that stays.
        since_ns: What was last used before is removed anyhow; nanoseconds since the epoch.
    """
    kept = [(each.name, publication) for each in found for publication in each.publications]
    kept.sort(key=lambda each: each[1].used_ns)
    chosen: dict[str, list[Publication]] = {}
    while kept and (kept[0][1].used_ns < since_ns or _size(kept) > max_bytes):
        name, publication = kept.pop(0)
        chosen.setdefault(name, []).append(publication)
    return chosen


def prune(content: Contents, removed: Sequence[Publication], deadline_s: float) -> int:
    """Remove publications, and what nobody refers to; return the bytes that are free.

    Args:
        content: The namespace.
        removed: The publications.
        deadline_s: By ``time.monotonic()``.

    Raises:
        CacheError: The store failed, or was not done by then, or a manifest cannot be read or was
            not signed with this key. What a manifest lists is still there.
    """
    space, names = content.space, {each.name for each in removed}
    now, shut = read_all(content, deadline_s)  # again: somebody may have published
    kept = {name: manifest for name, manifest in now.items() if name not in names}
    stays = frozenset(e for manifest in (*kept.values(), *shut.values()) for e in manifest.added)
    # Manifests first: what they list must be there.
    calls: list[Callable[[], object]] = [
        functools.partial(_rewrite, space, name, manifest, stays)
        for name, manifest in kept.items()
        if not stays.issuperset(manifest.entries)
    ]
    calls += [functools.partial(space.remove, name) for name in names]
    list(each_within(deadline_s, calls))
    sizes = {blob(entry): entry.size for each in removed for entry in each.manifest.added}
    listed = {blob(entry) for entry in stays}
    others = within(deadline_s, lambda: space.names(""))
    old = each_within(
        deadline_s,
        [
            functools.partial(_if_old, space, file, grace_s)
            for file in others
            if (grace_s := _grace_s(file, listed)) is not None
        ],
    )
    gone = {file for file in old if file is not None}
    marks = tuple(f"{_marks_of(name)}/" for name in names)
    gone.update(file for file in others if marks and file.startswith(marks))
    list(each_within(deadline_s, [functools.partial(space.remove, file) for file in sorted(gone)]))
    return sum(size for file, size in sizes.items() if file in gone)


def read_all(
    content: Contents, deadline_s: float
) -> tuple[dict[str, Manifest], dict[str, Manifest]]:
    """Return all manifests of a namespace, and those in quarantine.

    Raises:
        CacheError: The store failed, or was not done by then; a manifest cannot be read, which may
            list files, or was not signed with this key.
    """
    space = content.space
    now = space.manifests(deadline_s, most=None, is_strict=True)
    shut = space.manifests(deadline_s, most=None, folder=QUARANTINE, is_strict=True)
    if not space.has_key:
        calls = [functools.partial(space.is_signed, name) for name in (*now, *shut)]
        if any(each_within(deadline_s, calls)):
            msg = "it is signed: give the key with --key-file"
            raise CacheError(msg)
    return now, shut


def _grace_s(file: str, listed: set[str]) -> float | None:
    """Return after how many seconds nobody needs a file any more; ``None`` if somebody may."""
    if file.startswith(BLOBS):
        return GRACE_S if file not in listed else None
    return DAY_S if file.startswith(_NOTES) else None


def _rewrite(space: Space, name: str, manifest: Manifest, stays: frozenset[Entry]) -> None:
    entries = tuple(each for each in manifest.entries if each in stays)
    space.add(dataclasses.replace(manifest, entries=entries), name)


def _if_old(space: Space, file: str, grace_s: float) -> str | None:
    age_s = space.age_s(file)
    return file if age_s is None or age_s > grace_s else None


def _added(publications: Iterable[Publication]) -> frozenset[Entry]:
    return frozenset(entry for each in publications for entry in each.manifest.added)


def _size(kept: Iterable[tuple[str, Publication]]) -> int:
    sizes = {(name, e.digest): e.size for name, each in kept for e in each.manifest.added}
    return sum(sizes.values())


def _marks_of(publication: str) -> str:
    return USED + publication.removeprefix(MANIFESTS).removesuffix(".json")


def _ns_of(day: str | None) -> int:
    """Return the beginning of a day such as ``20261128``; 0 if it is none."""
    try:
        date = dt.datetime.strptime(day or "", "%Y%m%d").replace(tzinfo=dt.timezone.utc)
    except ValueError:
        return 0
    return round(date.timestamp() * 1e9)


def _today() -> dt.datetime:
    return dt.datetime.fromtimestamp(time.time(), dt.timezone.utc)
