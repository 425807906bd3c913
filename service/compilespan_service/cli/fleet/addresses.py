"""The servers that a command is about, and how they are asked."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import httpx
import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

TOKEN = "COMPILESPAN_TOKEN"  # noqa: S105  # the name of a variable

Urls = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[URL]...",
        help="Where the endpoints are, e.g. http://host:8000 or http://host:8000/ops.",
        show_default=False,
    ),
]
FromFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Read more URLs from a file, one in a line; - is standard input.",
        show_default=False,
    ),
]
TokenEnv = Annotated[
    str,
    typer.Option(metavar="NAME", help="Variable that holds the token of the servers."),
]


def addresses(command: str, urls: Iterable[str] | None, file: Path | None) -> list[str]:
    """Return the URLs of all servers, each once, without a slash at the end.

    Raises:
        Exit: There is none, one is not a URL, or the file cannot be read; the exit code is 2.
    """
    found = list(urls or ())
    if file is not None:
        try:
            text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
        except (OSError, ValueError) as error:
            raise _usage(command, f"--from-file {file} cannot be read: {error}") from error
        found += [line.partition("#")[0].strip() for line in text.splitlines()]
    servers = list(dict.fromkeys(each.rstrip("/") for each in found if each))
    for each in servers:
        try:
            url = httpx.URL(each)
        except httpx.InvalidURL as error:
            raise _usage(command, f"{each!r} is no URL: {error}") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise _usage(command, f"{each!r} is no URL of a server, e.g. http://host:8000")
    if not servers:
        raise _usage(command, "give the URL of a server, e.g. http://host:8000, or --from-file")
    return servers


def headers(command: str, token_env: str) -> dict[str, str]:
    """Return the headers of each request.

    Raises:
        Exit: The variable is asked for and not set; the exit code is 2.
    """
    token = os.environ.get(token_env)
    if not token and token_env != TOKEN:
        raise _usage(command, f"--token-env {token_env}: this variable is not set")
    return {"Authorization": f"Bearer {token}"} if token else {}


def problem(response: httpx.Response) -> str:
    """Return what a server's answer says about an error, in one sentence."""
    try:
        document = response.json()
        said = document.get("detail") or document.get("title")
    except (ValueError, AttributeError):
        said = None
    if response.status_code == httpx.codes.UNAUTHORIZED:
        said = f"it wants a token: put it into {TOKEN}, or name another variable with --token-env"
    elif response.status_code == httpx.codes.NOT_FOUND and said in (None, "Not Found"):
        said = "it has no such endpoint: is the URL that of compilespan's endpoints?"
    return f"{response.status_code} {said or response.reason_phrase}"


def _usage(command: str, why: str) -> typer.Exit:
    typer.echo(f"compilespan {command}: {why}", err=True)
    return typer.Exit(2)
