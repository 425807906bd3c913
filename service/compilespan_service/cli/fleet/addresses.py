"""The servers that a command is about, and how they are asked."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

_LOOK_S = 1.0
MAX_BYTES = 16 * 10**6
_OF_THE_BODY = ("content-encoding", "content-length", "transfer-encoding")
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
            text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8-sig")
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
        if url.query or url.fragment:
            raise _usage(command, f"{shown(each)!r} has a query or a fragment: leave it out")
    if not servers:
        raise _usage(command, "give the URL of a server, e.g. http://host:8000, or --from-file")
    return servers


def resolved(urls: Iterable[str], count: int, timeout_s: float) -> list[str]:
    """Return a URL for each address that the names of these URLs have.

    Args:
        urls: With the names, e.g. that of a headless service.
        count: Number of addresses to wait for.
        timeout_s: Seconds to wait; then those that are there are returned.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        found = list(dict.fromkeys(each for url in urls for each in _addresses_of(httpx.URL(url))))
        left_s = deadline_s - time.monotonic()
        if len(found) >= count or left_s <= 0:
            return found
        time.sleep(min(_LOOK_S, left_s))


def _addresses_of(url: httpx.URL) -> list[str]:
    try:
        infos = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except OSError:  # no pod is there yet
        return []
    return [str(url.copy_with(host=str(info[4][0]))).rstrip("/") for info in infos]


def headers(command: str, token_env: str) -> dict[str, str]:
    """Return the headers of each request.

    Raises:
        Exit: The variable is asked for and not set; the exit code is 2.
    """
    token = os.environ.get(token_env)
    if not token and token_env != TOKEN:
        raise _usage(command, f"--token-env {token_env}: this variable is not set")
    return {"Authorization": f"Bearer {token}"} if token else {}


def shown(url: str) -> str:
    """Return a URL without user and password."""
    return str(httpx.URL(url).copy_with(userinfo=b"")).rstrip("/")


async def asked(client: httpx.AsyncClient, method: str, url: str, **given: Any) -> httpx.Response:
    """Return an answer of at most 16 MB.

    Raises:
        ValueError: It is larger.
        httpx.HTTPError: There is none.
    """
    async with client.stream(method, url, **given) as answer:
        body = bytearray()
        async for part in answer.aiter_bytes():
            body += part
            if len(body) > MAX_BYTES:
                msg = f"its answer has more than {MAX_BYTES / 1e6:.0f} MB"
                raise ValueError(msg)
    kept = [(name, value) for name, value in answer.headers.items() if name not in _OF_THE_BODY]
    return httpx.Response(answer.status_code, headers=kept, content=bytes(body))


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
