"""What the commands about a shared compile cache have in common."""

from __future__ import annotations

import datetime as dt
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compilespan.cache import housekeeping
from compilespan.cache.configured import KEY_FILE
from compilespan.cache.errors import CacheError
from compilespan.cache.place import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from compilespan.cache.housekeeping import Contents

TIMEOUT_S = 600.0

Url = Annotated[str, typer.Argument(metavar="URL", help="A directory, or any URL of fsspec.")]
Key = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        envvar=KEY_FILE,
        help="Key that signs the cache; what it has not signed is left out.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def contents(url: str, key_file: Path | None) -> list[Contents]:
    """Return what a store has.

    Raises:
        CacheError: It cannot be read.
    """
    place = Place(url, key_file)
    return housekeeping.contents(place.store(), place.key, time.monotonic() + TIMEOUT_S)


@contextmanager
def told(command: str) -> Iterator[None]:
    """Tell a failure in one sentence."""
    try:
        yield
    except CacheError as error:
        typer.echo(f"compilespan cache {command}: {error}", err=True)
        raise typer.Exit(1) from error


def environment(facts: Mapping[str, str]) -> str:
    """Return what entries depend on, in words."""
    device = facts.get("gpu") or facts.get("cpu", "")
    named = (f"torch {facts.get('torch', '')}", device, f"{facts.get('threads', '')} threads")
    return ", ".join((*named, facts.get("python", "")))


def moment(time_ns: int) -> str:
    """Return a moment (ns since the epoch) as text."""
    return dt.datetime.fromtimestamp(time_ns / 1e9, dt.timezone.utc).isoformat(timespec="seconds")
