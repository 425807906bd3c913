"""Entries that a ledger publishes: begin and end of compiles, parts of the start, readiness."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from compilespan.ledger.active import CompileBegun
from compilespan.ledger.cache_use import CacheUse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compilespan.ledger.records import CompileRecord
    from compilespan.semconv import Part


class Ended:
    """A ledger entry: the compile with this key ended, with its record if it left one."""

    __slots__ = ("key", "record")

    def __init__(self, key: int, record: CompileRecord | None) -> None:
        self.key = key
        self.record = record


class Ready:
    """A ledger entry: the process was declared ready, ``after_s`` seconds after it began.

    ``by_program`` tells whether its program did that, or compilespan's service.
    """

    __slots__ = ("after_s", "by_program", "time_ns")

    def __init__(self, time_ns: int, after_s: float, *, by_program: bool) -> None:
        self.time_ns = time_ns
        self.after_s = after_s
        self.by_program = by_program

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Ready:
        """Return the entry of a journal's line."""
        return cls(values["time_ns"], values["after_s"], by_program=bool(values.get("by_program")))


class Mark(NamedTuple):
    """A ledger entry: an activity of one thread of this process before the process was ready.

    Compiles, loads of artefacts and captures have records instead.

    Attributes:
        part: The part of the start that it counts as.
        start_ns: Nanoseconds since the epoch.
        end_ns: Nanoseconds since the epoch; ``None`` while it is in progress.
        name: The package that is imported or the target that is loaded; ``None`` if unknown.
        thread_id: As from ``threading.get_ident()``; 0 if unknown.
    """

    part: Part
    start_ns: int
    end_ns: int | None = None
    name: str | None = None
    thread_id: int = 0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Mark:
        """Create a mark from the values of a journal line."""
        return cls(**{field: values[field] for field in cls._fields if field in values})


Entry: TypeAlias = CacheUse | CompileBegun | Ended | Mark | Ready
