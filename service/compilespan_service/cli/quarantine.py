"""``compilespan cache quarantine``: what made starts die or fail."""

from __future__ import annotations

import functools
import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from compilespan.cache import trials
from compilespan.cache.bounded import within_s
from compilespan.cache.space import QUARANTINE
from compilespan_service.cli.stores import (
    TIMEOUT_S,
    Json,
    Key,
    Url,
    contents,
    environment,
    moment,
    told,
)
from compilespan_service.reporters.characters import console_on, printable

if TYPE_CHECKING:
    from compilespan.cache.housekeeping import Contents

app = typer.Typer(
    name="quarantine",
    help="What made starts die or fail, and is loaded no longer.",
    no_args_is_help=True,
)


@app.command("ls")
def list_quarantine(url: Url, key_file: Key = None, as_json: Json = False) -> None:
    """List what is in quarantine.

    Exits with 1 if the store cannot be read.

    Example: compilespan cache quarantine ls s3://bucket/compile-cache
    """
    with told("quarantine ls"):
        rows = [
            {
                "name": _name(each, name),
                "environment": environment(manifest.facts),
                "published_by": manifest.builder,
                "published_at": moment(manifest.created_ns),
                "files": manifest.published,
            }
            for each in contents(url, key_file)
            for name, manifest in each.quarantine.items()
        ]
        if as_json:
            typer.echo(json.dumps(rows, indent=1))
        elif not rows:
            typer.echo("nothing is in quarantine")
        else:
            table = Table(box=None, pad_edge=False, header_style="bold")
            for title in ("name", "environment", "published by", "at", "files"):
                table.add_column(title, overflow="fold")
            for row in rows:
                table.add_row(*(printable(str(value)) for value in row.values()))
            console_on(sys.stdout).print(table)


@app.command()
def release(
    url: Url,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="As `ls` shows them.")],
    key_file: Key = None,
) -> None:
    """Let starts load publications again.

    Exits with 1 if the store cannot be read or changed, and with 2 if a name is not there.

    Example: compilespan cache quarantine release s3://bucket/compile-cache 3f2a/0017-ab12
    """
    with told("quarantine release"):
        known = {
            _name(each, name): (each.space, name, manifest)
            for each in contents(url, key_file)
            for name, manifest in each.quarantine.items()
        }
        if missing := [name for name in names if name not in known]:
            there = ", ".join(known) or "nothing"
            typer.echo(f"{missing[0]} is not in quarantine; there is {there}", err=True)
            raise typer.Exit(2)
        for name in names:
            releasing = functools.partial(trials.release, *known[name])
            within_s(TIMEOUT_S, releasing)
            typer.echo(f"released {name}")


def _name(found: Contents, name: str) -> str:
    return f"{found.name}/{name.removeprefix(QUARANTINE).removesuffix('.json')}"
