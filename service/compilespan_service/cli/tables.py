"""Numbers for people: tables and durations, as PAGE has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from compilespan import CompileTotals

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


def cost_table(totals: CompileTotals) -> Table:
    """Return what compiling cost, a row for each component."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    columns = ["seconds", "waited", "compiles", "graphs", "cache hits", "recompiles"]
    failed = totals.total.failed > 0
    for column in columns + (["failed"] if failed else []):
        table.add_column(column, justify="right", no_wrap=True)
    rows = (
        ("encoder", ENCODER, totals.encoder),
        ("language model", LANGUAGE_MODEL, totals.language_model),
        ("total", "bold", totals.total),
    )
    for name, style, row in rows:
        cells = [
            duration(row.compile_s),
            duration(row.wall_s),
            str(row.compiles),
            str(row.graphs),
            str(row.cache_hits),
            str(row.recompiles),
        ]
        table.add_row(name, *cells, *([str(row.failed)] if failed else []), style=style)
    return table
