"""Tables with a row for each component or name, and as many columns as fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from compilespan.ledger.rows import TotalsRow
from compilespan_service.reporters.characters import printable, say
from compilespan_service.reporters.words import duration, worded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console

    from compilespan import CompileTotals
    from compilespan.semconv import Component

STYLES: dict[Component, str] = {
    "encoder": "#0d9488",
    "language_model": "#6366f1",
    "other": "#c026d3",
}
"""Colours of the components, as on the page."""


class _Column(NamedTuple):
    title: str
    cell: Callable[[TotalsRow], str]
    is_always: bool = True
    """Whether the column is shown even if its sum is 0."""


def _count(title: str, column: str, *, is_always: bool = False) -> _Column:
    return _Column(title, lambda row: str(getattr(row, column)), is_always)


_COLUMNS = (
    _Column("seconds", lambda row: duration(row.compile_s + row.load_s + row.kernel_s)),
    _Column("failed for", lambda row: duration(row.failed_s), is_always=False),
    _count("compiles", "compiles", is_always=True),
    _count("graphs", "graphs", is_always=True),
    _count("cache hits", "cache_hits", is_always=True),
    _count("recompiles", "recompiles", is_always=True),
    _count("built again", "cache_rebuilds"),
    *(_count(each, each) for each in ("loads", "captures", "kernels", "skipped", "failed")),
)
_LEFT_OUT_FIRST = (
    *("graphs", "built again", "captures", "kernels", "skipped", "loads", "cache hits"),
    *("recompiles", "failed", "compiles", "component", "failed for"),
)
"""Order in which narrow terminals lose columns; seconds and 16 letters of names stay."""
_NAME_LETTERS = 16
_GAP = 3
_EDGES = 2
"""Padding that older versions of rich add although the table has no edges."""


def cost_table(totals: CompileTotals, width: int) -> tuple[Table, list[str]]:
    """Return the costs of compiling, with a row for each component that has any.

    Args:
        totals: The sums.
        width: Columns of the terminal.

    Returns:
        The table, and the titles of the columns that did not fit.
    """
    rows = [
        _Row(worded(component), getattr(totals, component), style)
        for component, style in STYLES.items()
        if getattr(totals, component) != TotalsRow()
    ]
    return _table([*rows, _Row("total", totals.total, "bold")], width)


def print_table(console: Console, table: Table, left_out: Sequence[str]) -> None:
    """Print a table, and the titles of the columns that did not fit."""
    console.print(table)
    if left_out:
        columns = ", ".join(left_out)
        say(console, Text(f"no room in {console.width} columns for: {columns}", style="dim"))


def name_table(
    totals: CompileTotals, components: Mapping[str, Component], width: int
) -> tuple[Table, list[str]]:
    """Return the costs of compiling, with a row for each name, most expensive first.

    Args:
        totals: The sums.
        components: Component of each name.
        width: Columns of the terminal.

    Returns:
        The table, and the titles of the columns that did not fit.
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


class _Row(NamedTuple):
    name: str
    sums: TotalsRow
    style: str
    component: str = ""


def _table(
    rows: Sequence[_Row], width: int, *, has_components: bool = False
) -> tuple[Table, list[str]]:
    """Return a table that fits the width; the last row is the sum of the others."""
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
