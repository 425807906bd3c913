"""What a ledger publishes: compiles that begin and end, parts of the start, readiness."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from compilespan.ledger.active import CompileBegun

if TYPE_CHECKING:
    from compilespan.ledger.records import CompileRecord


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


class Part:
    """A ledger entry: a part of the start took ``seconds`` from ``start_ns`` (if known) on."""

    __slots__ = ("name", "seconds", "start_ns")

    def __init__(self, name: str, seconds: float, start_ns: int | None = None) -> None:
        self.name = name
        self.seconds = seconds
        self.start_ns = start_ns


Entry: TypeAlias = CompileBegun | Ended | Part | Ready
