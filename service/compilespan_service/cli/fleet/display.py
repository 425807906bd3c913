"""How servers that warm up are shown: a line each while it lasts, and a table at the end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

from rich import box
from rich.cells import cell_len
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from compilespan.ledger.totals import cache_state
from compilespan_service.cli.fleet.addresses import shown
from compilespan_service.reporters.characters import console_on, printable
from compilespan_service.reporters.tables import STYLES
from compilespan_service.reporters.words import duration, worded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from rich.console import Console
    from typing_extensions import Self

    from compilespan.semconv import CacheState
    from compilespan_service.cli.fleet.warming import State, Warming

HEARTBEAT_S = 30.0
_REFRESH_HZ = 4
_ROOM = 4
"""Rows of a terminal that are not servers."""
_STYLES: Mapping[State, str] = {"warm": "green", "waiting": "dim", "warming": ""}
_SYMBOLS: Mapping[State, str] = {"warm": "●", "waiting": "…", "warming": "↻"}


class Display:
    """Shows servers while they warm up: on a terminal a line each, in a log what changes."""

    def __init__(self, servers: Sequence[Warming], stream: TextIO) -> None:
        """Show nothing yet.

        Args:
            servers: In the order in which they are shown.
            stream: Where to.
        """
        self._servers = servers
        self._console = console_on(stream)
        self._live = (
            Live(console=self._console, refresh_per_second=_REFRESH_HZ, transient=True)
            if self._console.is_terminal
            else None
        )
        self._said: dict[str, tuple[State, str]] = {}
        self._said_s = time.monotonic()

    def __enter__(self) -> Self:
        """Begin."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what is on the terminal."""
        if self._live is not None:
            self._live.stop()

    def update(self) -> None:
        """Show what has changed."""
        if self._live is not None:
            self._live.update(_now(self._servers, self._console))
            return
        is_due = time.monotonic() - self._said_s >= HEARTBEAT_S
        for each in self._servers:
            is_new = self._said.get(each.url) != (each.state, each.note)
            if is_new or (is_due and each.state in ("waiting", "warming")):
                self._said[each.url] = each.state, each.note
                self._said_s = time.monotonic()
                self._console.print(f"{shown(each.url)}: {escape(_line(each))}", soft_wrap=True)


def _now(servers: Sequence[Warming], console: Console) -> Group:
    pending = [each for each in servers if each.state in ("waiting", "warming")]
    visible = pending[: max(1, console.height - _ROOM)]
    names = [printable(shown(each.url)) for each in visible]
    width = max(map(cell_len, names), default=0)
    lines = [
        Text(
            f"{_SYMBOLS.get(each.state, '✕')} {name:{width}}  {duration(each.elapsed_s):>12}  "
            f"{_line(each)}",
            style=_STYLES.get(each.state, "red"),
            no_wrap=True,
            overflow="ellipsis",
        )
        for each, name in zip(visible, names, strict=True)
    ]
    over, more = len(servers) - len(pending), len(pending) - len(visible)
    lines.append(Text(f"{over} of {len(servers)} done" + (f", {more} more" if more else "")))
    return Group(*lines)


def _line(server: Warming) -> str:
    """Return what a server does, in words."""
    items = server.items
    if server.state == "warming" and items:
        current = next((item for item in items if item["state"] == "running"), None)
        done = sum(item["state"] not in ("pending", "running") for item in items)
        words = [f"{done} of {len(items)} items"]
        words += [f"now {current['target']} {_shape(current['shape'])}"] if current else []
        words += [
            f"{worded(component)} {duration(spent_s)}"
            for component in STYLES
            if (spent_s := server.compile_s.get(component, 0.0))
        ]
        return printable(", ".join(words))
    return printable(f"{server.state}{': ' if server.note else ''}{server.note}")


def _shape(shape: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in shape.items())


def table(servers: Sequence[Warming], console: Console) -> None:
    """Print all servers, the slowest first, and what went wrong."""
    ordered = sorted(servers, key=lambda each: -each.elapsed_s)
    components = [c for c in STYLES if any(each.compile_s.get(c) for each in ordered)]
    titles = ["", "start", "items", *map(worded, components), "elapsed"]
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    found.add_column("server", overflow="fold")
    for number, title in enumerate(titles):
        found.add_column(title, justify="left" if number < 2 else "right", no_wrap=True)  # noqa: PLR2004
    for each in ordered:
        warm = sum(item["state"] == "warm" for item in each.items)
        found.add_row(
            escape(printable(shown(each.url))),
            each.state,
            start_of(each),
            f"{warm} of {len(each.items)}" if each.items else "",
            *(duration(each.compile_s.get(component, 0.0)) for component in components),
            duration(each.elapsed_s),
            style=_STYLES.get(each.state, "red") if each.state != "warm" else "",
        )
    console.print(found)
    for each in ordered:
        for line in _complaints(each):
            console.print(escape(f"{printable(shown(each.url))}: {line}"), soft_wrap=True)


def start_of(server: Warming) -> CacheState:
    """Return whether the graphs of a server's job came from a cache."""
    return cache_state(server.total, is_over=server.state in ("warm", "not warm"))


def _complaints(server: Warming) -> list[str]:
    lines = [server.note] if server.note and server.state != "warm" else []
    if server.job is not None:
        lines += [
            f"{item['target']} {_shape(item['shape'])}: {item['state']}"
            + (f": {item['error']}" if item["error"] else "")
            for item in server.items
            if item["state"] not in ("warm", "pending", "running")
        ]
        lines += [f"warning: {each}" for each in server.warnings]
    return [printable(line) for line in lines]
