"""Numbers for people: tables and durations, as PAGE has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table

from compilespan.ledger.rows import TotalsRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compilespan import CompileTotals
    from compilespan.ledger.start import Start
    from compilespan.semconv import CacheState, Component, Part, Stage

_MINUTE_S = 60
_SHOWN_S = 0.005
_SHOWN_IMPORT_S = 0.1
_PART_WORDS: dict[Part, str] = {
    "boot": "starting Python",
    "capture": "cudagraphs",
    "wait": "waiting for POST /warmup",
}
STYLES: dict[Component, str] = {
    "encoder": "#0d9488",
    "language_model": "#6366f1",
    "other": "#c026d3",
}
"""Colours of the components, as on the page."""


def duration(seconds: float) -> str:
    """Return a duration in the reader's units: three significant digits, or minutes.

    >>> duration(0.0123), duration(14.94), duration(125.2)
    ('0.012 s', '14.9 s', '2 min 05 s')
    """
    if seconds >= 100:  # noqa: PLR2004  # from here on three digits are whole seconds
        minutes, rest = divmod(round(seconds), _MINUTE_S)
        return f"{minutes} min {rest:02d} s"
    for limit, digits in ((1, 3), (10, 2), (100, 1)):
        if seconds < limit:
            return f"{seconds:.{digits}f} s"
    return f"{seconds:.0f} s"


_COMMON = ("seconds", "compiles", "graphs", "cache hits", "recompiles")
_ONLY_WHERE_THERE_ARE_ANY = ("loads", "captures", "kernels", "skipped", "failed")


def cost_table(totals: CompileTotals) -> Table:
    """Return what compiling cost, a row for each component that has one."""
    table = _table(totals)
    for component, style in STYLES.items():
        row: TotalsRow = getattr(totals, component)
        if row != TotalsRow():
            _row(table, totals, worded(component), row, style)
    _row(table, totals, "total", totals.total, "bold")
    return table


def worded(component: Component) -> str:
    """Return a component in words."""
    return component.replace("_", " ")


def name_table(totals: CompileTotals, components: Mapping[str, Component]) -> Table:
    """Return what compiling cost, a row for each name, most expensive first.

    Args:
        totals: The sums.
        components: By name.
    """
    table = _table(totals, "component")
    for name, row in sorted(totals.by_name.items(), key=lambda item: -item[1].wall_s):
        component = components.get(name, "other")
        _row(table, totals, name, row, STYLES[component], worded(component))
    _row(table, totals, "total", totals.total, "bold", "")
    return table


STAGE_WORDS: dict[Stage, str] = {
    "trace": "tracing",
    "autograd": "AOTAutograd",
    "lower": "lowering",
    "kernels": "building kernels",
    "autotune": "tuning kernels",
    "cache": "caches",
    "other": "other",
}


def stage_line(totals: CompileTotals) -> str:
    """Return what compiles spent their time on, longest first; these seconds add up."""
    longest_first = sorted(totals.by_stage.items(), key=lambda item: -item[1])
    return "spent on " + ", ".join(
        f"{STAGE_WORDS[stage]} {duration(seconds)}"
        for stage, seconds in longest_first
        if seconds >= _SHOWN_S
    )


START_WORDS: dict[CacheState, str] = {
    "cold": "a cold start",
    "warm": "a warm start",
    "no cache": "a start without a cache",
    "unknown": "a start",
}


def start_line(start: Start) -> str:
    """Return what a start was made of, in the order of the page; these seconds add up."""
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
        else:
            words.append(f"{_PART_WORDS.get(part, part)} {duration(seconds)}")
    return " · ".join(words)


def _longest(imports_s: Mapping[str, float]) -> str:
    shown = [(name, spent) for name, spent in imports_s.items() if spent >= _SHOWN_IMPORT_S]
    listed = ", ".join(f"{name} {duration(spent)}" for name, spent in shown[:3])
    return f" ({listed})" if listed else ""


def _table(totals: CompileTotals, *more: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", overflow="fold")
    for column in (*more, *_COMMON, *_extra(totals)):
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _row(
    table: Table, totals: CompileTotals, name: str, row: TotalsRow, style: str, *more: str
) -> None:
    table.add_row(
        escape(name),
        *more,
        duration(row.compile_s + row.load_s + row.kernel_s),
        str(row.compiles),
        str(row.graphs),
        str(row.cache_hits),
        str(row.recompiles),
        *(str(getattr(row, column)) for column in _extra(totals)),
        style=style,
    )


def _extra(totals: CompileTotals) -> list[str]:
    return [column for column in _ONLY_WHERE_THERE_ARE_ANY if getattr(totals.total, column)]
