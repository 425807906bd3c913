"""Leaves out what is in quarantine, and puts there what made starts die or fail."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from typing import TYPE_CHECKING

from compilespan.cache.bounded import within
from compilespan.cache.local import PARTS
from compilespan.cache.roots import ROOTS
from compilespan.cache.space import QUARANTINE
from compilespan.cache.trials import MOST_FAILURES, Trials, quarantine

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from compilespan.cache.manifest import Entry, Manifest
    from compilespan.cache.space import Space

_logger = logging.getLogger("compilespan")


def sound(
    space: Space, notes: Space, named: Mapping[str, Manifest], deadline_s: float
) -> tuple[dict[str, Manifest], int]:
    """Return manifests without what is in quarantine, which is removed from this machine, too.

    Also return how many publications were put there now.

    Args:
        space: Where the manifests are.
        notes: Where trials, failures and the quarantine are written.
        named: The manifests by name.
        deadline_s: By ``time.monotonic()``.

    Raises:
        CacheError: The store failed, or did not answer in time.
    """
    failures = within(deadline_s, Trials(notes).failures)
    failed = [name for name in named if failures[name] >= MOST_FAILURES]
    for name in failed:
        manifest = named[name]
        within(deadline_s, lambda: quarantine(space, notes, name, manifest))  # noqa: B023  # at once
        _logger.warning(
            "compilespan: %d starts on this host died or failed with what %s has published in the "
            "compile cache: it is in quarantine, and this start compiles. Look at it with "
            "`compilespan cache quarantine ls URL`.",
            *(failures[name], manifest.builder),
        )
    shut = notes.manifests(deadline_s, most=None, folder=QUARANTINE)
    if notes is not space:
        shut |= space.manifests(deadline_s, most=None, folder=QUARANTINE)
    bad = frozenset(entry for manifest in shut.values() for entry in manifest.added)
    for name, manifest in shut.items():
        _remove(name, manifest.added)
    open_ = {
        name: _without(manifest, bad)
        for name, manifest in named.items()
        if QUARANTINE + name.rpartition("/")[2] not in shut
    }
    return open_, len(failed)


def _without(manifest: Manifest, bad: frozenset[Entry]) -> Manifest:
    if bad.isdisjoint(manifest.entries):
        return manifest
    added = tuple(entry for entry in manifest.added if entry not in bad)
    known = tuple(entry for entry in manifest.entries[manifest.published :] if entry not in bad)
    return dataclasses.replace(manifest, published=len(added), entries=(*added, *known))


def _remove(name: str, entries: Iterable[Entry]) -> None:
    """Remove entries from this machine, once: what is built again may be the same."""
    for root in ROOTS:
        directory = root.find()
        if directory is None or not directory.is_dir():
            continue
        noted = directory / PARTS / name.replace("/", "-")
        if noted.exists():
            continue
        for entry in entries:
            if entry.root == root.name and _is(directory / entry.path, entry):
                (directory / entry.path).unlink(missing_ok=True)
        noted.parent.mkdir(mode=0o700, exist_ok=True)
        noted.touch()


def _is(file: Path, entry: Entry) -> bool:
    try:
        if file.is_symlink() or file.stat().st_size != entry.size:
            return False
        return hashlib.sha256(file.read_bytes()).hexdigest() == entry.digest
    except OSError:
        return False
