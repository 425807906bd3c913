"""A finding, and what findings are made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias, TypedDict

from compilespan.process.limits import cpus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compilespan.ledger.records import CompileRecord
    from compilespan.ledger.start import Start


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """Something that cost time, and what to do about it.

    Attributes:
        code: Stable, e.g. ``CS010``; ``compilespan explain CS010`` tells more.
        what: One sentence.
        seconds: Seconds lost; 0 if what is lost cannot be said in seconds.
        count: How many times it happened.
        name: Of the compile, if it is one name's.
        file: Of the user's line, if there is one.
        line: Its number, 0 without one.
        evidence: In torch's words, or in figures.
        fix: What to do.
        link: A page about it; empty if there is none.
        is_serious: Something failed or was given up: it comes before what only costs time.
    """

    code: str
    what: str
    seconds: float
    count: int
    evidence: str
    fix: str
    name: str | None = None
    file: str | None = None
    line: int = 0
    link: str = ""
    is_serious: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class EagerItem:
    """An item of a warmup that runs eager.

    Attributes:
        target: Its target.
        shape: As a request has it.
        why: In words.
    """

    target: str
    shape: str
    why: str


@dataclasses.dataclass(frozen=True, slots=True)
class Evidence:
    """What findings are made from; nothing else is looked at.

    Attributes:
        records: Of all processes.
        start: What the start was made of; ``None`` if nobody knows.
        cpus: CPUs that these processes may use.
        eager: Items of warmups that run eager.
    """

    records: Sequence[CompileRecord]
    start: Start | None = None
    cpus: float = dataclasses.field(default_factory=cpus)
    eager: Sequence[EagerItem] = ()


Finder: TypeAlias = Callable[[Evidence], Iterable[Finding]]
"""Looks for one kind of thing, or for several of one family."""


class Place(TypedDict):
    """What a finding is about, and where."""

    name: str
    file: str | None
    line: int


def place_of(record: CompileRecord) -> Place:
    """Return what was compiled, and the user's line."""
    return {"name": record.name, "file": record.file, "line": record.line or 0}


def seconds(records: Iterable[CompileRecord]) -> float:
    """Return how long these took together."""
    return sum(record.duration_ns for record in records) / 1e9


def short(seconds: float) -> str:
    """Return seconds as a sentence has them."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"


def times(count: int) -> str:
    """Return how often, in words."""
    return "once" if count == 1 else "twice" if count == 2 else f"{count} times"  # noqa: PLR2004
