"""A finding, and the evidence from which findings are made."""

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
        pid: Id of its process.
        compile_id: Dynamo's id, e.g. ``0/1``; the same as in tlparse and TORCH_LOGS.
    """

    pid: int
    compile_id: str


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """Something that cost time, and what to do about it.

    Attributes:
        code: Stable, e.g. ``CS010``; ``compilespan explain CS010`` explains it.
        what: One sentence.
        seconds: Seconds lost; 0 if the loss cannot be measured in seconds.
        count: How many times it happened.
        name: Name of the compile or target; ``None`` if the finding is about several.
        file: File of the user's code; ``None`` if unknown.
        line: Line in this file; 0 if unknown.
        evidence: Torch's own words, or numbers.
        fix: What to do.
        link: Address of a page about it; may be empty.
        is_serious: Something failed or runs eager; such findings come first.
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
        target: Name of its target.
        shape: The shape as JSON.
        why: The reason as a text.
    """

    target: str
    shape: str
    why: str


@dataclasses.dataclass(frozen=True, slots=True)
class Evidence:
    """All that findings are made from.

    Attributes:
        records: Records of all processes.
        start: What the start was made of; ``None`` if unknown.
        cpus: CPUs that these processes may use.
        compile_threads: Maximum number of threads with which inductor builds kernels.
        throttled_s: Seconds for which the kernel throttled their cgroup; ``None`` if unknown.
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
"""Finds one kind of finding, or several kinds of one family."""


class Subject(TypedDict):
    """What a finding is about, and where."""

    name: str
    file: str | None
    line: int
    compiles: tuple[CompileRef, ...]


def subject_of(record: CompileRecord, group: Iterable[CompileRecord]) -> Subject:
    """Return what was compiled, the user's line, and the compiles of a group.

    Args:
        record: Record that represents the group.
        group: All records that the finding is about.
    """
    return {
        "name": record.name,
        "file": record.file,
        "line": record.line or 0,
        "compiles": refs(group),
    }


def refs(records: Iterable[CompileRecord]) -> tuple[CompileRef, ...]:
    """Return the ids of these compiles, each once, at most 16."""
    found = (CompileRef(record.pid, each) for record in records for each in record.compile_ids)
    return tuple(dict.fromkeys(found))[:MAX_COMPILES]


def seconds(records: Iterable[CompileRecord]) -> float:
    """Return the total duration of these records."""
    return sum(record.duration_ns for record in records) / 1e9


def short(seconds: float) -> str:
    """Return seconds as text for a sentence."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"


def times(count: int) -> str:
    """Return how often, in words."""
    return "once" if count == 1 else "twice" if count == 2 else f"{count} times"  # noqa: PLR2004
