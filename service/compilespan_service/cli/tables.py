"""Numbers for people: tables and durations, as PAGE has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Collection

    from compilespan import CompileTotals
    from compilespan.totals import TotalsRow

_MINUTE_S = 60
ENCODER, LANGUAGE_MODEL = "#0d9488", "#6366f1"


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
_ONLY_WHERE_THERE_ARE_ANY = ("loads", "captures", "skipped", "failed")


def cost_table(totals: CompileTotals) -> Table:
    """Return what compiling cost, a row for each component."""
    table = _table(totals)
    _row(table, totals, "encoder", totals.encoder, ENCODER)
    _row(table, totals, "language model", totals.language_model, LANGUAGE_MODEL)
    _row(table, totals, "total", totals.total, "bold")
    return table


def name_table(totals: CompileTotals, encoders: Collection[str]) -> Table:
    """Return what compiling cost, a row for each name, the dearest first."""
    table = _table(totals, "encoder")
    dearest = sorted(totals.by_name.items(), key=lambda item: -item[1].wall_s)
    for name, row in dearest:
        is_encoder = name in encoders
        style = ENCODER if is_encoder else LANGUAGE_MODEL
        _row(table, totals, name, row, style, "yes" if is_encoder else "no")
    _row(table, totals, "total", totals.total, "bold", "")
    return table


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
        duration(row.compile_s + row.load_s),
        str(row.compiles),
        str(row.graphs),
        str(row.cache_hits),
        str(row.recompiles),
        *(str(getattr(row, column)) for column in _extra(totals)),
        style=style,
    )


def _extra(totals: CompileTotals) -> list[str]:
    return [column for column in _ONLY_WHERE_THERE_ARE_ANY if getattr(totals.total, column)]
