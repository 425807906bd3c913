"""What the compile cache that replicas share saved, and what it cost."""

from __future__ import annotations

import dataclasses
from typing import Any

MAX_UNUSED = 32


@dataclasses.dataclass(frozen=True, slots=True)
class CacheUse:
    """The use of the shared compile cache so far: what was fetched is not yet used.

    Attributes:
        fetched_files: Files that were fetched.
        fetched_bytes: Their size.
        fetched_graphs: Graphs among them.
        used_graphs: Number of these that torch found in its cache.
        unused_graphs: Keys of the first 32 others.
        published_files: Files that were published.
        quarantined: Publications of others that were put into quarantine.
        saved_s: Seconds that it took other processes to build the graphs that were used.
        fetch_s: Seconds of fetching.
        wait_s: Seconds of waiting for another process that builds the same.
        publish_s: Seconds of publishing.
    """

    fetched_files: int = 0
    fetched_bytes: int = 0
    fetched_graphs: int = 0
    used_graphs: int = 0
    unused_graphs: tuple[str, ...] = ()
    published_files: int = 0
    quarantined: int = 0
    saved_s: float = 0.0
    fetch_s: float = 0.0
    wait_s: float = 0.0
    publish_s: float = 0.0

    def __add__(self, other: CacheUse) -> CacheUse:
        """Return the sum over two processes."""
        added: dict[str, Any] = {
            field.name: getattr(self, field.name) + getattr(other, field.name)
            for field in dataclasses.fields(self)
        }
        added["unused_graphs"] = tuple(dict.fromkeys(added["unused_graphs"]))[:MAX_UNUSED]
        return CacheUse(**added)

    def to_json(self) -> dict[str, Any]:
        """Return the values of a journal's line."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, values: dict[str, Any]) -> CacheUse:
        """Return what a journal's line says; unknown values, of a newer version, are ignored."""
        known = {name: values[name] for name in cls.__slots__ if name in values}
        known["unused_graphs"] = tuple(known.get("unused_graphs", ()))[:MAX_UNUSED]
        return cls(**known)
