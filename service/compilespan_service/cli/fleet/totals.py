"""``compilespan totals``: what several servers have compiled, each and together."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from compilespan.ledger.rows import TotalsRow
from compilespan_service.cli.fleet import addresses, replicas
from compilespan_service.cli.fleet.addresses import TOKEN, FromFile, TokenEnv, Urls
from compilespan_service.cli.stores import Json
from compilespan_service.reporters.characters import console_on, printable
from compilespan_service.reporters.tables import STYLES
from compilespan_service.reporters.words import duration, worded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from compilespan_service.cli.fleet.replicas import Replica

_COUNTS = {"compiles": "compiles", "cache hits": "cache_hits", "misses": "cache_misses"}
_IF_ANY = {"recompiles": "recompiles", "failed": "failed"}


def totals(
    urls: Urls = None,
    from_file: FromFile = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Read the journals of a state directory instead: each start is a replica.",
            show_default=False,
        ),
    ] = None,
    token_env: TokenEnv = TOKEN,
    as_json: Json = False,
) -> None:
    """Show what several servers have compiled: each, and all together.

    Seconds of compiling are summed; `wall` is the union of the intervals, by the clocks of the
    servers, from the last 4096 records of each.

    Exits with 0 if all have answered, 1 if some have not.

    Example: compilespan totals http://10.0.0.4:8000 http://10.0.0.5:8000
    """
    if state_dir is not None:
        if urls or from_file:
            raise typer.BadParameter("give URLs or --state-dir, not both.")
        if not state_dir.is_dir():
            typer.echo(f"compilespan totals: {state_dir} is no directory", err=True)
            raise typer.Exit(2)
        found = replicas.of_directory(state_dir)
    else:
        servers = addresses.addresses("totals", urls, from_file)
        headers = addresses.headers("totals", token_env)
        found = asyncio.run(replicas.of_servers(servers, headers))
    together = replicas.together(found)
    if as_json:
        said = {name: asdict(row) for name, row in together.items()}
        listed = [each.document() for each in found]
        typer.echo(json.dumps({"replicas": listed, "together": said}, indent=1))
    else:
        with suppress(BrokenPipeError):
            _print(found, together, console_on(sys.stdout))
    if any(each.complaint is not None for each in found):
        raise typer.Exit(1)


def _print(found: Sequence[Replica], together: Mapping[str, TotalsRow], console: Console) -> None:
    if not found:
        console.print("no start is known there")
        return
    components = [each for each in STYLES if together[each] != TotalsRow()]
    counts = _COUNTS | {
        title: column for title, column in _IF_ANY.items() if getattr(together["total"], column)
    }
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("replica", overflow="fold")
    for title in ("ready after", *map(worded, components), "wall", *counts):
        table.add_column(title, justify="right", no_wrap=True)

    def add(name: str, ready_after_s: float | None, rows: Mapping[str, TotalsRow]) -> None:
        total = rows["total"]
        table.add_row(
            escape(printable(name)),
            duration(ready_after_s) if ready_after_s is not None else "",
            *(duration(rows[each].compile_s) for each in components),
            duration(total.wall_s),
            *(str(getattr(total, column)) for column in counts.values()),
            style="bold" if rows is together else "",
        )

    answered = [each for each in found if each.rows]
    for each in answered:
        add(each.name, each.ready_after_s, each.rows)
    ready = [each.ready_after_s for each in answered if each.ready_after_s is not None]
    add(f"together ({len(answered)})", max(ready, default=None), together)
    console.print(table)
    for each in found:
        if each.complaint is not None:
            console.print(escape(printable(f"{each.name}: {each.complaint}")), soft_wrap=True)
