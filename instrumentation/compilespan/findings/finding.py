"""A finding, and what findings are made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias, TypedDict

from compilespan.process.limits import compile_threads, cpus

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from compilespan.ledger.records import CompileRecord
    from compilespan.ledger.start import Start


MAX_COMPILES = 16


@dataclasses.dataclass(frozen=True, slots=True)
class CompileRef:
    """A compile that a finding is about.

    Attributes:
        pid: Of its process.
        compile_id: Dynamo's id, e.g. ``0/1``; tlparse and TORCH_LOGS name it alike.
    """

    pid: int
    compile_id: str


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
        compiles: The compiles that it is about, at most 16.
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
    compiles: tuple[CompileRef, ...] = ()


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
        compile_threads: With how many threads inductor builds kernels.
        throttled_s: Seconds in which the kernel held their cgroup back; ``None`` if unknown.
        eager: Items of warmups that run eager.
        earlier_keys: Keys of graphs that earlier starts had in their cache.
    """

    records: Sequence[CompileRecord]
    start: Start | None = None
    cpus: float = dataclasses.field(default_factory=cpus)
    compile_threads: int = dataclasses.field(default_factory=compile_threads)
    throttled_s: float | None = None
    eager: Sequence[EagerItem] = ()
    earlier_keys: Collection[str] = ()


Finder: TypeAlias = Callable[[Evidence], Iterable[Finding]]
"""Looks for one kind of thing, or for several of one family."""


class Subject(TypedDict):
    """What a finding is about, and where."""

    name: str
    file: str | None
    line: int
    compiles: tuple[CompileRef, ...]


def subject_of(record: CompileRecord, group: Iterable[CompileRecord]) -> Subject:
    """Return what was compiled, the user's line, and the compiles of a group.

    Args:
        record: That stands for the group.
        group: All that the finding is about.
    """
    return {
        "name": record.name,
        "file": record.file,
        "line": record.line or 0,
        "compiles": refs(group),
    }


def refs(records: Iterable[CompileRecord]) -> tuple[CompileRef, ...]:
    """Return the ids of these compiles, each once."""
    found = (CompileRef(record.pid, each) for record in records for each in record.compile_ids)
    return tuple(dict.fromkeys(found))[:MAX_COMPILES]


def seconds(records: Iterable[CompileRecord]) -> float:
    """Return how long these took together."""
    return sum(record.duration_ns for record in records) / 1e9


def short(seconds: float) -> str:
    """Return seconds as a sentence has them."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"


def times(count: int) -> str:
    """Return how often, in words."""
    return "once" if count == 1 else "twice" if count == 2 else f"{count} times"  # noqa: PLR2004
