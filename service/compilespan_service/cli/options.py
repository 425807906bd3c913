"""Options that several commands have."""

from __future__ import annotations

import os
from typing import Annotated, Any, get_args

import typer

from compilespan.cache.configured import MODE, UNSIGNED, URL, WAIT, configured
from compilespan.cache.errors import CacheError
from compilespan.cache.place import without_secrets
from compilespan.cache.shared import WAIT_S, Mode


def choice(literal: Any) -> dict[str, Any]:
    """Return the arguments of an option whose values are those of a ``Literal`` type.

    typer itself knows these types since 0.19; servers pin older ones.
    """
    values = get_args(literal)

    def parse(value: str) -> str:
        if value not in values:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(map(repr, values))}.")
        return value

    return {"parser": parse, "metavar": f"[{'|'.join(values)}]"}


CacheUrl = Annotated[
    str | None,
    typer.Option(
        envvar=URL,
        help="Compile cache that replicas share: a directory or any URL of fsspec, e.g. "
        "s3://bucket/cache.",
        show_default=False,
    ),
]
CacheMode = Annotated[
    Mode,
    typer.Option(
        **choice(Mode), envvar=MODE, help="Whether to fetch from the cache, publish to it or both."
    ),
]
CacheWait = Annotated[
    float,
    typer.Option(
        envvar=WAIT,
        min=0,
        help="Seconds that a warmup waits for another replica that builds the same.",
    ),
]
CacheUnsigned = Annotated[
    bool,
    typer.Option(
        "--cache-unsigned",
        envvar=UNSIGNED,
        help="Load compiled code without a signature, from whoever can write to the cache.",
    ),
]


def use_cache(
    command: str, url: str | None, mode: Mode, *, wait_s: float = WAIT_S, unsigned: bool
) -> None:
    """Put the options into the environment, where all processes find them.

    Exits with 2 and one sentence if they cannot be used.
    """
    if url is None:
        return
    os.environ.update({URL: url, MODE: mode, WAIT: str(wait_s), UNSIGNED: "1" if unsigned else ""})
    try:
        configured()
    except CacheError as error:
        typer.echo(f"compilespan {command}: --cache-url {without_secrets(url)}: {error}", err=True)
        raise typer.Exit(2) from error
