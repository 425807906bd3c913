"""Starts that try out what is in the store; one that dies or fails tells the next one.

A process writes ``trials/<host>/<name>`` before its first compile: which publications it may load,
which it has loaded, and a count that rises while it lives. It removes the file when what it loaded
has worked. A file whose count does not rise is that of a dead process, and a failure of what it had
loaded. After `MOST_FAILURES` starts that failed, a publication is in quarantine: its manifest is
moved there, and no entry that it added is loaded any longer.

Only starts of the same host are looked at: a container that is started again keeps its name, and a
fleet does not read the files of all its replicas.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
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
FAILURES = "failures/"
TRIALS = "trials/"
_FAILURE = re.compile(rf"{FAILURES}(\d{{20}}-[0-9a-f]{{8}})/[0-9a-f]{{16}}")
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
    """

    start: str
    count: int = 0
    may: tuple[str, ...] = ()
    loaded: tuple[str, ...] = ()
    ended: int = 0

    @property
    def blamed(self) -> tuple[str, ...]:
        """What it may have died of: what it loaded, or anything in its first compile."""
        return self.loaded or (self.may if not self.ended else ())


class Trials:
    """The trials and failures that a space has; its store may raise anything."""

    def __init__(self, space: Space) -> None:
        """Read nothing yet."""
        self._space = space
        self._folder = f"{TRIALS}{_host()}/"

    def others(self) -> dict[str, Trial]:
        """Return the trials of other starts of this host by name."""
        name = re.compile(rf"{re.escape(self._folder)}\d+-[0-9a-f]{{8}}")
        names = filter(name.fullmatch, self._space.names(self._folder))
        found = {each: self._read(each) for each in sorted(names)[:_MOST_READ]}
        return {
            each: trial
            for each, trial in found.items()
            if trial is not None and trial.start != _start()
        }

    def failures(self) -> dict[str, set[str]]:
        """Return the starts that failed by publication."""
        found: defaultdict[str, set[str]] = defaultdict(set)
        names = filter(_FAILURE.fullmatch, self._space.names(FAILURES))
        for name in sorted(names)[:_MOST_READ]:
            _, stem, start = name.split("/")
            with suppress(*INVALID, CacheError, FileNotFoundError):
                if self._space.read(name)["start"] == start:
                    found[f"{MANIFESTS}{stem}.json"].add(start)
        return found

    def settle(self, seen: Mapping[str, Trial], worked: Iterable[str] = ()) -> None:
        """Count trials whose count has not risen since as failures, and remove them.

        Args:
            seen: The trials by name, as they were some time ago.
            worked: What has worked since, and is forgiven.
        """
        forgiven = frozenset(worked)
        for name, before in seen.items():
            if self._read(name) == before:
                blamed = [each for each in before.blamed if each not in forgiven]
                fail(self._space, blamed, before.start)
                remove(self._space, [name])

    def begin(self, publications: Iterable[str]) -> tuple[str, Trial]:
        """Write a trial of these publications; return its name and the trial."""
        name = f"{self._folder}{os.getpid()}-{secrets.token_hex(4)}"
        trial = Trial(_start(), may=tuple(publications))
        self.show(name, trial)
        return name, trial

    def show(self, name: str, trial: Trial) -> None:
        """Write how a trial goes on."""
        self._space.write(name, asdict(trial))

    def end(self, name: str, worked: Iterable[str], failed: Iterable[str]) -> None:
        """End a trial: what has worked is forgiven, what has failed is noted."""
        remove(self._space, [name])
        fail(self._space, failed, _start())
        forget(self._space, worked)

    def _read(self, name: str) -> Trial | None:
        with suppress(*INVALID, CacheError, FileNotFoundError):
            values = self._space.read(name)
            may, loaded = (tuple(map(str, values[key])) for key in ("may", "loaded"))
            return Trial(str(values["start"]), int(values["count"]), may, loaded, values["ended"])
        return None


def beaten(trial: Trial, loaded: Iterable[str], ended: int) -> Trial:
    """Return a trial with a higher count, and what was loaded by now."""
    return replace(trial, count=trial.count + 1, loaded=tuple(sorted(loaded)), ended=ended)


def fail(space: Space, publications: Iterable[str], start: str) -> None:
    """Note that a start failed with these publications; the same start counts once."""
    for each in publications:
        name = f"{FAILURES}{_stem(each)}/{start}"
        if _FAILURE.fullmatch(name):
            space.write(name, {"start": start})


def forget(space: Space, publications: Iterable[str]) -> None:
    """Forget all failures of these publications."""
    folders = tuple(f"{FAILURES}{_stem(each)}/" for each in publications)
    if folders:
        remove(space, [name for name in space.names(FAILURES) if name.startswith(folders)])


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
    forget(target, [name])


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
