"""``compilespan report FILE``: draws again what ``compilespan run -o FILE`` wrote."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from compilespan_service.capture import document
from compilespan_service.capture.confidential import without_paths
from compilespan_service.cli.paths import check, write
from compilespan_service.reporters import html, perfetto, terminal
from compilespan_service.reporters.characters import console_on

_WRITERS = {"--html": html.report, "--trace": perfetto.report, "--json": document.text}


def report(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Of `compilespan run -o FILE`.")],
    html_file: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write one page that needs no network."),
    ] = None,
    trace_file: Annotated[
        Path | None,
        typer.Option("--trace", metavar="FILE", help="Write a trace for ui.perfetto.dev."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all of it as JSON.")
    ] = None,
    no_paths: Annotated[
        bool,
        typer.Option(
            "--no-paths",
            help="Leave out directories, arguments and the host's name: for a public ticket.",
        ),
    ] = False,
) -> None:
    """Draw a run again: as the table, or as files; - is standard output."""
    asked = {"--html": html_file, "--trace": trace_file, "--json": json_file}
    named = {option: path for option, path in asked.items() if path is not None}
    check("report", ((option, path) for option, path in named.items() if str(path) != "-"))
    try:
        capture = document.read(file)
        capture = without_paths(capture) if no_paths else capture
    except document.CaptureError as error:
        typer.echo(f"compilespan report: {error}", err=True)
        raise typer.Exit(2) from error
    for option, path in named.items():
        text = _WRITERS[option](capture)
        if str(path) == "-":
            sys.stdout.write(text)
        else:
            write("report", path, text)
    if not named:
        terminal.report(capture, console_on(sys.stdout), "--json FILE has all")
