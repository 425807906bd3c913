"""``compilespan cache``: what is in a shared compile cache, and its removal."""

from __future__ import annotations

import json
import re
import sys
import time
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.table import Table

from compilespan.cache import housekeeping
from compilespan_service.cli import quarantine
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
    from collections.abc import Iterable, Sequence

    from compilespan.cache.housekeeping import Contents, Publication

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_DAY_NS = 86_400 * 10**9

app = typer.Typer(
    name="cache",
    help="Look into a compile cache that replicas share, and remove what is not used.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(quarantine.app)


@app.command("ls")
def list_cache(url: Url, key_file: Key = None, as_json: Json = False) -> None:
    """List what a shared compile cache has, by the environment that it fits.

    Exits with 1 if the store cannot be read.

    Example: compilespan cache ls s3://bucket/compile-cache
    """
    with told("ls"):
        found = contents(url, key_file)
        if as_json:
            typer.echo(json.dumps([_row(each)._asdict() for each in found], indent=1))
            return
        _print(found)


@app.command()
def prune(
    url: Url,
    max_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Size of all that stays, e.g. 20GB.", show_default=False),
    ] = None,
    unused_for: Annotated[
        float | None,
        typer.Option(
            metavar="DAYS", min=0, help="Remove what nobody used for longer.", show_default=False
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")
    ] = False,
    key_file: Key = None,
    as_json: Json = False,
) -> None:
    """Remove from a shared compile cache what was not used for longest.

    Exits with 1 if the store cannot be read or changed.

    Example: compilespan cache prune s3://bucket/compile-cache --max-size 20GB --unused-for 30
    """
    if max_size is None and unused_for is None:
        raise typer.BadParameter("give --max-size, --unused-for or both.")
    most = _bytes(max_size) if max_size is not None else float("inf")
    since_ns = time.time_ns() - round(unused_for * _DAY_NS) if unused_for is not None else 0
    with told("prune"):
        found = contents(url, key_file)
        if not dry_run:  # nothing is removed if anything cannot be read
            for each in found:
                housekeeping.read_all(each, time.monotonic() + TIMEOUT_S)
        chosen = housekeeping.removable(found, most, since_ns)
        freed = 0
        for each in found:
            removed = chosen.get(each.name, [])
            if dry_run:
                freed += _size(removed)
            else:
                freed += housekeeping.prune(each, removed, time.monotonic() + TIMEOUT_S)
        count = sum(map(len, chosen.values()))
        if as_json:
            said = {"publications": count, "bytes": freed, "dry_run": dry_run}
            typer.echo(json.dumps(said, indent=1))
            return
        would = "would remove" if dry_run else "removed"
        typer.echo(f"{would} {count} of {_count(found)} publications, {_readable(freed)}")


def _print(found: Sequence[Contents]) -> None:
    if not found:
        typer.echo("the cache is empty")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("environment", "graphs", "files", "size", "last used", "published by"):
        table.add_column(title, justify="right" if title in ("graphs", "files", "size") else "left")
    for each in found:
        row = _row(each)
        table.add_row(
            printable(environment(each.facts)),
            *(str(each.graphs), str(row.files), _readable(row.bytes)),
            *(row.last_used[:10], printable(", ".join(row.builders[-2:]))),
        )
    console_on(sys.stdout).print(table)


class _Row(NamedTuple):
    namespace: str
    environment: dict[str, str]
    publications: int
    graphs: int
    files: int
    bytes: int
    last_used: str
    builders: list[str]


def _row(found: Contents) -> _Row:
    entries = {each.digest: each.size for each in found.entries}
    used_ns = max((each.used_ns for each in found.publications), default=0)
    return _Row(
        namespace=found.name,
        environment=dict(found.facts),
        publications=len(found.publications),
        graphs=found.graphs,
        files=len(entries),
        bytes=sum(entries.values()),
        last_used=moment(used_ns),
        builders=list(dict.fromkeys(each.manifest.builder for each in found.publications)),
    )


def _size(removed: Iterable[Publication]) -> int:
    return sum({e.digest: e.size for each in removed for e in each.manifest.added}.values())


def _count(found: Iterable[Contents]) -> int:
    return sum(len(each.publications) for each in found)


def _bytes(size: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?B?)", size.strip().upper())
    unit = (match[2] + "B" if match[2] in "KMGT" and match[2] else match[2]) if match else None
    if match is None or (factor := _UNITS.get("" if unit == "B" else unit or "")) is None:
        raise typer.BadParameter(f"{size!r} is no size; write e.g. 20GB or 500MB.")
    return float(match[1]) * factor


def _readable(size: float) -> str:
    """Return a size in the largest unit that is at least one.

    >>> _readable(812), _readable(1_234_567)
    ('812 B', '1.2 MB')
    """
    for unit, factor in reversed(_UNITS.items()):
        if unit and size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} B"
