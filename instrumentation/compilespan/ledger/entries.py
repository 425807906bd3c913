"""What a ledger publishes: compiles that begin and end, parts of the start, readiness."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from compilespan.ledger.active import CompileBegun

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compilespan.ledger.records import CompileRecord
    from compilespan.semconv import Part


class Ended:
    """A ledger entry: the compile with this key is over, its record is there if it left one."""

    __slots__ = ("key", "record")

    def __init__(self, key: int, record: CompileRecord | None) -> None:
        self.key = key
        self.record = record


class Ready:
    """A ledger entry: the process was declared ready, ``after_s`` seconds after it began."""

    __slots__ = ("after_s", "time_ns")

    def __init__(self, time_ns: int, after_s: float) -> None:
        self.time_ns = time_ns
        self.after_s = after_s


class Mark(NamedTuple):
    """A ledger entry: what a thread of this process did for a while, before it was ready.

    Compiles, loads of artefacts and captures have records instead.

    Attributes:
        part: What it is for the start.
        start_ns: Nanoseconds since the epoch.
        end_ns: Nanoseconds since the epoch; ``None`` while it goes on.
        name: The package that is imported, the target that is loaded.
        thread_id: Of the thread.
    """

    part: Part
    start_ns: int
    end_ns: int | None = None
    name: str | None = None
    thread_id: int = 0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Mark:
        """Take the values of a journal's line."""
        return cls(**{field: values[field] for field in cls._fields if field in values})


Entry: TypeAlias = CompileBegun | Ended | Mark | Ready
