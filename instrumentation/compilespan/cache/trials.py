"""Starts that try out what is in the store; one that dies or fails tells the next one.

A process writes ``trials/<host>/<name>`` before its first compile: which publications it may load,
which it has loaded, and a count that rises while it lives. It marks the file as over, and removes
it, when what it loaded has worked. A file whose count does not rise is that of a dead process, and
a failure of what it had loaded. After `MOST_FAILURES` starts that failed, a publication is in
quarantine: its manifest is moved there, and no entry that it added is loaded any longer.

Only starts of the same host are looked at: a container that is started again keeps its name, and a
fleet does not read the files of all its replicas. Who may not remove files marks them.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from compilespan.cache.errors import CacheError
from compilespan.cache.manifest import INVALID
from compilespan.cache.space import MANIFESTS, QUARANTINE
from compilespan.process import instance_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from compilespan.cache.manifest import Manifest
    from compilespan.cache.space import Space

MOST_FAILURES = 2
DEAD_S = 15.0
"""Seconds without a sign of life, by the clock of who looks, after which a process is dead."""
FAILURES = "failures/"
TRIALS = "trials/"
_FAILURE = re.compile(rf"{FAILURES}\d{{20}}-[0-9a-f]{{8}}/[A-Za-z0-9_-]+/[0-9a-f]{{16}}")
_MOST_READ = 256


@dataclass(frozen=True, slots=True)
class Trial:
    """What a process has written.

    Attributes:
        start: Token of its start: processes of one start have the same.
        count: Rises while it lives.
        may: The publications that it may load, as names of manifests.
        loaded: Those of which it has loaded a graph.
        ended: Number of compiles that have ended.
        is_over: Whether it has ended: its process did not die of what it loaded.
    """

    start: str
    count: int = 0
    may: tuple[str, ...] = ()
    loaded: tuple[str, ...] = ()
    ended: int = 0
    is_over: bool = False

    @property
    def blamed(self) -> tuple[str, ...]:
        """What it may have died of: what it loaded, or anything in its first compile."""
        return self.loaded or (self.may if not self.ended else ())


@dataclass(frozen=True, slots=True)
class Others:
    """Trials of other starts, as they were at one moment of ``time.monotonic()``."""

    trials: Mapping[str, Trial]
    at_s: float

    @property
    def are_due(self) -> bool:
        """Whether those that have shown no sign of life since are dead."""
        return time.monotonic() - self.at_s >= DEAD_S


class Trials:
    """The trials and failures that a space has; its store may raise anything."""

    def __init__(self, space: Space) -> None:
        """Read nothing yet."""
        self._space = space

    @staticmethod
    def new() -> Trial:
        """Return the trial of this start."""
        return Trial(_start())

    @staticmethod
    def new_name() -> str:
        """Return a name for a trial of this process."""
        return f"{TRIALS}{_host()}/{os.getpid()}-{secrets.token_hex(4)}"

    def others(self) -> Others:
        """Return the trials of other starts of this host."""
        folder = f"{TRIALS}{_host()}/"
        name = re.compile(rf"{re.escape(folder)}\d+-[0-9a-f]{{8}}")
        names = filter(name.fullmatch, self._space.names(folder))
        found = {each: self._read(each) for each in sorted(names)[:_MOST_READ]}
        others = {
            each: trial
            for each, trial in found.items()
            if trial is not None and trial.start != _start() and not trial.is_over
        }
        return Others(others, time.monotonic())

    def failures(self) -> dict[str, set[str]]:
        """Return the starts of this host that failed by publication."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        for name in self._failures()[:_MOST_READ]:
            _, stem, _, start = name.split("/")
            with suppress(*INVALID, CacheError, FileNotFoundError):
                values = self._space.read(name)
                if values["start"] == start and not values["is_forgiven"]:
                    found[f"{MANIFESTS}{stem}.json"].add(start)
        return found

    def settle(self, others: Others, worked: Iterable[str] = ()) -> None:
        """Count trials whose count has not risen since as failures, if they are due.

        Args:
            others: The trials, as they were some time ago.
            worked: What has worked since, and is forgiven: also those that are not due.
        """
        forgiven = frozenset(worked)
        for name, before in others.trials.items() if forgiven or others.are_due else ():
            if self._read(name) != before:
                continue
            if others.are_due:
                blamed = [each for each in before.blamed if each not in forgiven]
                fail(self._space, blamed, before.start)
                self._over(name, before)
            elif forgiven.intersection(before.blamed):  # if it lives, it writes it again
                may, loaded = (
                    tuple(each for each in names if each not in forgiven)
                    for names in (before.may, before.loaded)
                )
                ended = max(1, before.ended)  # without a name left it blames nobody
                self.show(name, replace(before, may=may, loaded=loaded, ended=ended))

    def show(self, name: str, trial: Trial) -> None:
        """Write how a trial goes on."""
        self._space.write(name, asdict(trial))

    def end(self, name: str, trial: Trial, worked: Iterable[str], failed: Iterable[str]) -> None:
        """End a trial: what has worked is forgiven, what has failed is noted."""
        self._over(name, trial)
        fail(self._space, failed, _start())
        self.forgive(worked)

    def forgive(self, publications: Iterable[str]) -> None:
        """Forgive what failed on this host."""
        folders = tuple(f"{FAILURES}{_stem(each)}/{_host()}/" for each in publications)
        for name in self._failures() if folders else ():
            if name.startswith(folders):
                start = name.rpartition("/")[2]
                self._space.write(name, {"start": start, "is_forgiven": True})
                remove(self._space, [name])

    def _failures(self) -> list[str]:
        names = filter(_FAILURE.fullmatch, self._space.names(FAILURES))
        return sorted(name for name in names if name.split("/")[2] == _host())

    def _over(self, name: str, trial: Trial) -> None:
        self.show(name, replace(trial, is_over=True))
        remove(self._space, [name])

    def _read(self, name: str) -> Trial | None:
        with suppress(*INVALID, CacheError, FileNotFoundError):
            values = self._space.read(name)
            may, loaded = (tuple(map(str, values[key])) for key in ("may", "loaded"))
            start, count, ended = str(values["start"]), int(values["count"]), int(values["ended"])
            return Trial(start, count, may, loaded, ended, bool(values["is_over"]))
        return None


def beaten(trial: Trial, loaded: Iterable[str], ended: int) -> Trial:
    """Return a trial with a higher count, and what was loaded by now."""
    return replace(trial, count=trial.count + 1, loaded=tuple(sorted(loaded)), ended=ended)


def fail(space: Space, publications: Iterable[str], start: str) -> None:
    """Note that a start of this host failed with these publications; it counts once."""
    for each in publications:
        name = f"{FAILURES}{_stem(each)}/{_host()}/{start}"
        if _FAILURE.fullmatch(name):
            space.write(name, {"start": start, "is_forgiven": False})


def remove(space: Space, names: Iterable[str]) -> None:
    """Remove files; who may not remove leaves them."""
    for name in names:
        with suppress(Exception):
            space.remove(name)


def quarantine(source: Space, target: Space, name: str, manifest: Manifest) -> None:
    """Move a publication into quarantine.

    Args:
        source: Where its manifest is.
        target: Where the quarantine is; if it is another space, the manifest stays.
        name: Of its manifest.
        manifest: The manifest.
    """
    target.add(manifest, QUARANTINE + name.removeprefix(MANIFESTS))
    if target is source:
        remove(source, [name])
    Trials(target).forgive([name])


def release(space: Space, name: str, manifest: Manifest) -> None:
    """Move a publication out of quarantine; its name is that in the quarantine.

    Raises:
        CacheError: It is signed, and there is no key. A store may raise anything.
    """
    if not space.has_key and space.is_signed(name):
        msg = "it is signed: give the key with --key-file"
        raise CacheError(msg)
    space.add(manifest, MANIFESTS + name.removeprefix(QUARANTINE))
    space.remove(name)


def _stem(publication: str) -> str:
    return publication.removeprefix(MANIFESTS).removesuffix(".json")


def _start() -> str:
    return hashlib.sha256(instance_id().encode()).hexdigest()[:16]


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", platform.node())[:100] or "host"
