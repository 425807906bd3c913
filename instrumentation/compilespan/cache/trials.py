"""Starts that try out what is in the store; one that dies or fails tells the next one.

A start writes ``trials/<host>/<pid>-<token>`` before its first compile, with the publications that
it may load, and removes it when it has worked. What is left of a process that is dead is a failure
of these publications. After `MOST_FAILURES` of them a publication is in quarantine: its manifest is
moved there, and no entry that it added is loaded any longer.

Only starts of the same host are looked at: a container that is started again keeps its name, and
whether a process of another host is alive cannot be known.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
from collections import Counter
from typing import TYPE_CHECKING

from compilespan.cache.errors import CacheError
from compilespan.cache.manifest import INVALID
from compilespan.cache.space import MANIFESTS, QUARANTINE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from compilespan.cache.manifest import Manifest
    from compilespan.cache.space import Space

MOST_FAILURES = 2
FAILURES = "failures/"
_TRIALS = "trials/"

_own: set[str] = set()
"""Names of the trials that this process has begun."""


class Trials:
    """The trials and failures that a space has."""

    def __init__(self, space: Space) -> None:
        """Read nothing yet.

        Args:
            space: Where they are written; a store may raise anything.
        """
        self._space = space

    def failures(self) -> Counter[str]:
        """Count the failures of each publication; trials of dead processes here are some."""
        folder = f"{_TRIALS}{_host()}/"
        for name in self._space.names(folder):
            pid = name.removeprefix(folder).partition("-")[0]
            if name not in _own and not _is_alive(pid):
                self._fail(name)
        counts: Counter[str] = Counter()
        for name in self._space.names(FAILURES):
            stem = name.removeprefix(FAILURES).rpartition("/")[0]
            counts[f"{MANIFESTS}{stem}.json"] += 1
        return counts

    def begin(self, publications: Iterable[str]) -> Trial:
        """Write a trial of these publications, and return it."""
        name = f"{_TRIALS}{_host()}/{os.getpid()}-{secrets.token_hex(4)}"
        trial = Trial(self._space, name, tuple(publications))
        _own.add(trial.name)
        self._space.write(name, {"publications": trial.publications})
        return trial

    def _fail(self, name: str) -> None:
        try:
            publications = [str(each) for each in self._space.read(name)["publications"]]
        except (*INVALID, CacheError, FileNotFoundError):  # torn, or another process took it
            publications = []
        fail(self._space, publications)
        self._space.remove(name)


class Trial:
    """The trial of this process."""

    def __init__(self, space: Space, name: str, publications: tuple[str, ...]) -> None:
        """Write nothing."""
        self._space = space
        self.name = name
        self.publications = publications

    def worked(self) -> None:
        """End it, and forget the failures of earlier starts."""
        self._space.remove(self.name)
        forget(self._space, self.publications)

    def failed(self, publications: Iterable[str]) -> None:
        """End it as a failure of these publications."""
        fail(self._space, publications)
        self._space.remove(self.name)


def fail(space: Space, publications: Iterable[str]) -> None:
    """Count a failure of each of these publications."""
    for each in publications:
        space.mark(f"{FAILURES}{_stem(each)}/{secrets.token_hex(4)}")


def forget(space: Space, publications: Iterable[str]) -> None:
    """Forget all failures of these publications."""
    folders = tuple(f"{FAILURES}{_stem(each)}/" for each in publications)
    for name in space.names(FAILURES) if folders else ():
        if name.startswith(folders):
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
        source.remove(name)
    forget(target, [name])


def release(space: Space, name: str, manifest: Manifest) -> None:
    """Move a publication out of quarantine; its name is that in the quarantine."""
    space.add(manifest, MANIFESTS + name.removeprefix(QUARANTINE))
    space.remove(name)


def _stem(publication: str) -> str:
    return publication.removeprefix(MANIFESTS).removesuffix(".json")


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", platform.node())[:100] or "host"


def _is_alive(pid: str) -> bool:
    """Whether a process of this host is alive; this one begins, so its id is that of a dead one."""
    if not pid.isdecimal() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
