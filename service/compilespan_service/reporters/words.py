"""Numbers and states in words: durations, stages, what a start was made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from compilespan_service.reporters.characters import flowing, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from compilespan import CompileTotals
    from compilespan.ledger.cache_use import CacheUse
    from compilespan.ledger.segments import Segment
    from compilespan.semconv import CacheState, Component, Part, Stage

_MINUTE_S = 60
_SHOWN_S = 0.005
_SHOWN_IMPORT_S = 0.1
_PART_WORDS: dict[Part, str] = {
    "boot": "starting Python",
    "capture": "cudagraphs",
    "wait": "waiting",
}


def duration(seconds: float) -> str:
    """Return a duration with three significant digits, or in minutes and seconds.

    >>> duration(0.0), duration(0.0123), duration(14.94), duration(125.2)
    ('0 s', '0.012 s', '14.9 s', '2 min 05 s')
    """
    if seconds == 0:
        return "0 s"
    if seconds >= 100:  # noqa: PLR2004  # from here on three digits are whole seconds
        minutes, rest = divmod(round(seconds), _MINUTE_S)
        return f"{minutes} min {rest:02d} s"
    for limit, digits in ((0.9995, 3), (9.995, 2), (99.95, 1)):
        if seconds < limit:
            return f"{seconds:.{digits}f} s"
    return f"{seconds:.0f} s"


def worded(component: Component) -> str:
    """Return a component in words."""
    return component.replace("_", " ")


STAGE_WORDS: dict[Stage, str] = {
    "trace": "tracing",
    "autograd": "AOTAutograd",
    "lower": "lowering",
    "kernels": "building kernels",
    "autotune": "tuning kernels",
    "cache": "caches",
    "other": "other",
}


def stage_line(totals: CompileTotals, width: int) -> str:
    """Return the seconds of each stage, longest first; with failed compiles, they add up."""
    longest_first = sorted(totals.by_stage.items(), key=lambda item: -item[1])
    words = [
        f"{STAGE_WORDS.get(stage, stage)} {duration(seconds)}"
        for stage, seconds in longest_first
        if seconds >= _SHOWN_S
    ]
    return flowing([f"spent on {words[0]}", *words[1:]], ", ", width) if words else ""


START_WORDS: dict[CacheState, str] = {
    "cold": "a cold start",
    "warm": "a warm start",
    "no cache": "a start without a cache",
    "unknown": "a start",
}


class Parts(Protocol):
    """What a start was made of, in seconds."""

    @property
    def parts_s(self) -> Mapping[Part, float]:
        """By part; they sum to the whole."""

    @property
    def compile_s(self) -> Mapping[Component, float]:
        """The part ``compile`` by component."""

    @property
    def imports_s(self) -> Mapping[str, float]:
        """The part ``import`` by package, longest first."""

    @property
    def segments(self) -> Sequence[Segment]:
        """The parts in order."""

    @property
    def beside_s(self) -> Mapping[Part, float]:
        """By part: work in other processes at the same time."""


def start_line(start: Parts, width: int) -> str:
    """Return the parts of a start in the order of the page; their seconds add up."""
    parts_s = start.parts_s
    words = []
    for part in ("boot", "import", "load", "compile", "capture", "wait", "other"):
        seconds = parts_s.get(part, 0.0)
        if seconds < _SHOWN_S:
            continue
        if part == "compile":
            words += [
                f"{'compiling' if component == 'other' else worded(component)} {duration(spent)}"
                for component, spent in start.compile_s.items()
            ]
        elif part == "import":
            words.append(f"import {duration(seconds)}{_longest(start.imports_s)}")
        elif part == "wait":
            words.append(f"waiting{_awaited(start.segments)} {duration(seconds)}")
        else:
            words.append(f"{_PART_WORDS.get(part, part)} {duration(seconds)}")
    beside = ", ".join(
        f"{_PART_WORDS.get(part, part)} {duration(seconds)}"
        for part, seconds in start.beside_s.items()
        if seconds >= _SHOWN_S
    )
    return flowing([*words, *([f"at the same time {beside}"] if beside else [])], " · ", width)


def cache_line(use: CacheUse, width: int) -> str:
    """Return what the shared compile cache saved and what it cost; empty if it was not used."""
    parts = []
    if use.fetched_files:
        parts.append(f"{use.used_graphs} of {use.fetched_graphs} graphs used")
        parts.append(f"saved {duration(use.saved_s)}")
        parts.append(f"fetched in {duration(use.fetch_s)}")
    if use.wait_s >= _SHOWN_S:
        parts.append(f"waited {duration(use.wait_s)}")
    if use.published_files:
        parts.append(f"published {use.published_files} files in {duration(use.publish_s)}")
    if use.quarantined:
        parts.append(f"{use.quarantined} put into quarantine")
    return flowing([f"shared cache: {parts[0]}", *parts[1:]], ", ", width) if parts else ""


def _awaited(segments: Iterable[Segment]) -> str:
    awaited = [each.name for each in segments if each.part == "wait" and each.name is not None]
    names = " and ".join(printable(name) for name in dict.fromkeys(awaited))
    return f" for {names}" if names else ""


def _longest(imports_s: Mapping[str, float]) -> str:
    shown = [(name, spent) for name, spent in imports_s.items() if spent >= _SHOWN_IMPORT_S]
    listed = ", ".join(f"{printable(name)} {duration(spent)}" for name, spent in shown[:3])
    return f" ({listed})" if listed else ""
