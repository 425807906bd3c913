"""Numbers for people: tables and durations, as PAGE has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from rich import box
from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table

from compilespan.ledger.rows import TotalsRow
from compilespan_service.reporters.characters import flowing, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from compilespan import CompileTotals
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


class _Column(NamedTuple):
    title: str
    cell: Callable[[TotalsRow], str]
    is_always: bool = True
    """Whether it is there although all of it is 0."""


def _count(title: str, column: str, *, is_always: bool = False) -> _Column:
    return _Column(title, lambda row: str(getattr(row, column)), is_always)


_COLUMNS = (
    _Column("seconds", lambda row: duration(row.compile_s + row.load_s + row.kernel_s)),
    _Column("failed for", lambda row: duration(row.failed_s), is_always=False),
    _count("compiles", "compiles", is_always=True),
    _count("graphs", "graphs", is_always=True),
    _count("cache hits", "cache_hits", is_always=True),
    _count("recompiles", "recompiles", is_always=True),
    *(_count(each, each) for each in ("loads", "captures", "kernels", "skipped", "failed")),
)
_LEFT_OUT_FIRST = (
    *("graphs", "captures", "kernels", "skipped", "loads", "cache hits", "recompiles"),
    *("failed", "compiles", "component", "failed for"),
)
"""Where the terminal is narrow; seconds stay, and of names at least 16 letters."""
_NAME_LETTERS = 16
_GAP = 3
_EDGES = 2
"""Padding that older versions of rich add although the table has no edges."""


def cost_table(totals: CompileTotals, width: int) -> tuple[Table, list[str]]:
    """Return what compiling cost, a row for each component that has one.

    Args:
        totals: The sums.
        width: Columns of the terminal.

    Returns:
        The table, and the titles that found no room.
    """
    rows = [
        _Row(worded(component), getattr(totals, component), style)
        for component, style in STYLES.items()
        if getattr(totals, component) != TotalsRow()
    ]
    return _table([*rows, _Row("total", totals.total, "bold")], width)


def worded(component: Component) -> str:
    """Return a component in words."""
    return component.replace("_", " ")


def name_table(
    totals: CompileTotals, components: Mapping[str, Component], width: int
) -> tuple[Table, list[str]]:
    """Return what compiling cost, a row for each name, most expensive first.

    Args:
        totals: The sums.
        components: By name.
        width: Columns of the terminal.

    Returns:
        The table, and the titles that found no room.
    """
    by_cost = sorted(totals.by_name.items(), key=lambda item: -item[1].wall_s)
    rows = [
        _Row(name, row, STYLES[component], worded(component))
        for name, row in by_cost
        for component in [components.get(name, "other")]
    ]
    has_components = totals.encoder != TotalsRow()
    return _table(
        [*rows, _Row("total", totals.total, "bold")], width, has_components=has_components
    )


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
    """Return what compiles spent their time on, longest first; these seconds add up."""
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
    def beside_s(self) -> Mapping[Part, float]:
        """By part: what other processes did meanwhile."""


def start_line(start: Parts, width: int) -> str:
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
    beside = ", ".join(
        f"{_PART_WORDS.get(part, part)} {duration(seconds)}"
        for part, seconds in start.beside_s.items()
        if seconds >= _SHOWN_S
    )
    return flowing([*words, *([f"beside it {beside}"] if beside else [])], " · ", width)


def _longest(imports_s: Mapping[str, float]) -> str:
    shown = [(name, spent) for name, spent in imports_s.items() if spent >= _SHOWN_IMPORT_S]
    listed = ", ".join(f"{printable(name)} {duration(spent)}" for name, spent in shown[:3])
    return f" ({listed})" if listed else ""


class _Row(NamedTuple):
    name: str
    sums: TotalsRow
    style: str
    component: str = ""


def _table(
    rows: Sequence[_Row], width: int, *, has_components: bool = False
) -> tuple[Table, list[str]]:
    """Return a table that is as wide as there is room; the last row is the sum of the others."""
    nothing = TotalsRow()
    columns = {
        column.title: [column.cell(row.sums) for row in rows]
        for column in _COLUMNS
        if column.is_always or column.cell(rows[-1].sums) != column.cell(nothing)
    }
    if has_components:
        columns = {"component": [row.component for row in rows], **columns}
    names = [printable(row.name) for row in rows]
    letters = min(_NAME_LETTERS, max(map(cell_len, names)))
    left_out = []
    for title in _LEFT_OUT_FIRST:
        if letters + sum(_width(*column) for column in columns.items()) <= width - _EDGES:
            break
        if columns.pop(title, None) is not None:
            left_out.append(title)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("", overflow="fold", min_width=letters)
    for title in columns:
        table.add_column(title, justify="right", no_wrap=True)
    for row, name, *cells in zip(rows, names, *columns.values(), strict=True):
        table.add_row(escape(name), *cells, style=row.style)
    return table, left_out


def _width(title: str, cells: Sequence[str]) -> int:
    return max(map(cell_len, (title, *cells))) + _GAP
