"""What a ledger tells those who watch it: a compile began, ended; the process is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from compilespan.records import CompileBegun

if TYPE_CHECKING:
    from compilespan.records import CompileRecord


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


Entry: TypeAlias = CompileBegun | Ended | Ready
