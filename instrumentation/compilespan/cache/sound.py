"""Leaves out what is in quarantine, and puts there what made starts die or fail."""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from compilespan.cache.bounded import within
from compilespan.cache.errors import in_words
from compilespan.cache.local import PARTS
from compilespan.cache.roots import ROOTS
from compilespan.cache.space import QUARANTINE
from compilespan.cache.trials import MOST_FAILURES, Others, Trials, quarantine

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from compilespan.cache.manifest import Entry, Manifest
    from compilespan.cache.space import Space

_LOOK_S = 0.5

_logger = logging.getLogger("compilespan")


class Sound(NamedTuple):
    """What may be loaded.

    Attributes:
        named: Manifests by name, without what is in quarantine.
        quarantined: How many publications were put there now.
        others: Trials of other starts, which may be dead.
    """

    named: dict[str, Manifest]
    quarantined: int
    others: Others


def sound(space: Space, notes: Space, named: Mapping[str, Manifest], deadline_s: float) -> Sound:
    """Leave out what is in quarantine, which is removed from this machine, too.

    If it cannot be found out what made earlier starts die, that costs a warning.

    Args:
        space: Where the manifests are.
        notes: Where trials, failures and the quarantine are written.
        named: The manifests by name.
        deadline_s: By ``time.monotonic()``.

    Raises:
        CacheError: The store failed, or did not answer in time.
    """
    count, others = 0, Others({}, 0.0)
    try:
        count, others = _judge(space, notes, named, deadline_s)
    except Exception as error:  # a store may raise anything
        _logger.warning(
            "compilespan: what made earlier starts die cannot be found out: %s", in_words(error)
        )
    shut = notes.manifests(deadline_s, folder=QUARANTINE)
    if notes is not space:
        shut |= space.manifests(deadline_s, folder=QUARANTINE)
    opened = {
        name: manifest
        for name, manifest in named.items()
        if QUARANTINE + name.rpartition("/")[2] not in shut
    }
    for name in opened:
        _unmark(QUARANTINE + name.rpartition("/")[2])
    for name, manifest in shut.items():
        _remove(name, manifest.added)
    # What somebody else built is not bad, even if the content is the same.
    bad = _added(shut) - _added(opened)
    return Sound({name: _without(each, bad) for name, each in opened.items()}, count, others)


def _judge(
    space: Space, notes: Space, named: Mapping[str, Manifest], deadline_s: float
) -> tuple[int, Others]:
    """Put what failed too often into quarantine; return how many publications, and open trials."""
    trials = Trials(notes)
    others = within(deadline_s, trials.others)
    failures = within(deadline_s, trials.failures)

    doubtful = set()
    for name in named:
        known = failures.get(name, set())
        possible = {each.start for each in others.trials.values() if name in each.blamed}
        if len(known) < MOST_FAILURES <= len(known | possible):
            doubtful.add(name)
    suspects = {name: t for name, t in others.trials.items() if doubtful & {*t.blamed}}
    if suspects:
        _settle(trials, replace(others, trials=suspects), deadline_s)
        failures = within(deadline_s, trials.failures)
    failed = [name for name in named if len(failures.get(name, ())) >= MOST_FAILURES]
    for name in failed:
        manifest = named[name]
        within(deadline_s, lambda: quarantine(space, notes, name, manifest))  # noqa: B023  # at once
        _logger.warning(
            "compilespan: %d starts on this host died or failed with what %s has published in the "
            "compile cache: it is in quarantine, and this start compiles. Look at it with "
            "`compilespan cache quarantine ls URL`.",
            *(len(failures[name]), manifest.builder),
        )
    return len(failed), others


def _settle(trials: Trials, suspects: Others, deadline_s: float) -> None:
    """Wait until all suspects have shown a sign of life, or are dead."""
    left = suspects
    while left.trials and not left.are_due and time.monotonic() < deadline_s:
        time.sleep(_LOOK_S)
        now = within(deadline_s, trials.others).trials
        still = {name: each for name, each in left.trials.items() if now.get(name) == each}
        left = replace(left, trials=still)
    within(deadline_s, lambda: trials.settle(left))


def _added(manifests: Mapping[str, Manifest]) -> frozenset[Entry]:
    return frozenset(entry for manifest in manifests.values() for entry in manifest.added)


def _without(manifest: Manifest, bad: frozenset[Entry]) -> Manifest:
    if bad.isdisjoint(manifest.entries):
        return manifest
    added = tuple(entry for entry in manifest.added if entry not in bad)
    known = tuple(entry for entry in manifest.entries[manifest.published :] if entry not in bad)
    return replace(manifest, published=len(added), entries=(*added, *known))


def _remove(name: str, entries: Iterable[Entry]) -> None:
    """Remove entries from this machine, once: what is built again may be the same."""
    for root in ROOTS:
        directory = root.find()
        if directory is None or not directory.is_dir():
            continue
        noted = directory / _mark_of(name)
        if noted.exists():
            continue
        for entry in entries:
            if entry.root == root.name and _is(directory / entry.path, entry):
                (directory / entry.path).unlink(missing_ok=True)
        noted.parent.mkdir(mode=0o700, exist_ok=True)
        noted.touch()


def _unmark(name: str) -> None:
    """Remove the mark of what was in quarantine, in case that it is there again."""
    for root in ROOTS:
        if (directory := root.find()) is not None:
            (directory / _mark_of(name)).unlink(missing_ok=True)


def _mark_of(name: str) -> str:
    return f"{PARTS}/{name.replace('/', '-')}"


def _is(file: Path, entry: Entry) -> bool:
    try:
        if file.is_symlink() or file.stat().st_size != entry.size:
            return False
        return hashlib.sha256(file.read_bytes()).hexdigest() == entry.digest
    except OSError:
        return False
