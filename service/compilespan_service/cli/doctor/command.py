"""``compilespan doctor``."""

from __future__ import annotations

import itertools
import json
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from compilespan_service.cli.doctor import machine, telemetry
from compilespan_service.cli.stores import Json
from compilespan_service.reporters.characters import console_on, printable, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compilespan_service.cli.doctor.check import State

_SYMBOLS: Mapping[State, tuple[str, str]] = {
    "good": ("●", "green"),
    "note": ("·", "yellow"),
    "bad": ("✕", "red"),
}
_WIDTH = 16


def doctor(as_json: Json = False) -> None:
    """Look at what torch.compile and compilespan need here, and say what to do.

    Run it where the server runs: in its container, with its environment. It imports torch, and
    compiles nothing.

    Exits with 1 if something will not work, else with 0.

    Example: compilespan doctor
    """
    given = os.environ.get("TORCHINDUCTOR_CACHE_DIR")  # torch sets it when it is imported
    found = []
    console = console_on(sys.stdout)
    for each in itertools.chain(telemetry.checks(), machine.checks(given)):
        found.append(each)
        if not as_json:
            symbol, style = _SYMBOLS[each.state]
            said = f"{each.name:{_WIDTH}}{printable(each.found)}"
            line = Text.assemble((f"{symbol} ", style), said)
            if each.remedy:
                line.append(f" -> {printable(each.remedy)}", style="bold")
            with suppress(BrokenPipeError):
                say(console, line)
    if as_json:
        typer.echo(json.dumps([each._asdict() for each in found], indent=1))
    if any(each.state == "bad" for each in found):
        raise typer.Exit(1)
