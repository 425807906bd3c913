"""The environments that a store has entries for: a new one learns in what it differs."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

from compilespan import semconv
from compilespan.cache import namespace
from compilespan.cache.bounded import each_within, within
from compilespan.cache.space import MANIFESTS, Space

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compilespan.cache.store import Store

FOLDER = "environments"
MAX_READ = 32
_WORDS = {
    "torch": "torch",
    "triton": "Triton",
    "python": "Python ABI",
    "machine": "machine",
    "cpu": "CPU capability",
    "gpu": "GPU",
    "threads": "thread count",
}

_logger = logging.getLogger("compilespan")


def note(store: Store, key: bytes | None, facts: Mapping[str, str]) -> None:
    """Note that there are entries for an environment; a store may raise anything."""
    Space(store, key, FOLDER).write(namespace.digest(facts), facts)


def nearest(
    store: Store, key: bytes | None, facts: Mapping[str, str], deadline_s: float
) -> str | None:
    """Return in what an environment differs from the nearest one that has entries.

    Args:
        store: The store.
        key: Only what has its signature is read; ``None`` reads all.
        facts: Of an environment without entries.
        deadline_s: By ``time.monotonic()``.

    Returns:
        E.g. ``thread count 16 → 8``; ``None`` if the store has no entries for any.

    Raises:
        CacheError: The store failed, or did not answer in time.
    """
    noted = Space(store, key, FOLDER)
    names = within(deadline_s, lambda: noted.names(""))[:MAX_READ]
    calls = [functools.partial(_differing, noted, store, name, facts) for name in names]
    found = min((each for each in each_within(deadline_s, calls) if each), key=len, default=None)
    if found is None:
        return None
    said = semconv.text(", ".join(found))
    _logger.info("compilespan: the compile cache has entries for others only: %s", said)
    return said


def _differing(noted: Space, store: Store, name: str, facts: Mapping[str, str]) -> list[str] | None:
    """Return what differs in words; ``None`` if there are no entries, or it cannot be read."""
    try:
        theirs = dict(noted.read(name))
        if not Space(store, None, name).names(MANIFESTS):
            return None
    except Exception:  # a store may raise anything, and another key may have signed it
        return None
    return [
        f"{word} {semconv.name(theirs.get(fact)) or 'none'} → {facts.get(fact) or 'none'}"
        for fact, word in _WORDS.items()
        if theirs.get(fact, "") != facts.get(fact, "")
    ]
