"""``compilespan report FILE``: show again what ``compilespan run -o FILE`` wrote."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from compilespan_service.capture import document
from compilespan_service.capture.confidential import without_paths
from compilespan_service.cli.paths import TraceFile, check, write
from compilespan_service.reporters import html, perfetto, terminal
from compilespan_service.reporters.characters import console_on

_WRITERS = {"--html": html.report, "--trace": perfetto.report, "--json": document.text}


def report(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="File that `compilespan run -o FILE` wrote.")
    ],
    html_file: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write an HTML page that needs no network."),
    ] = None,
    trace_file: TraceFile = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the whole run as JSON.")
    ] = None,
    no_paths: Annotated[
        bool,
        typer.Option(
            "--no-paths",
            help="Remove directories, arguments and the host name, e.g. for a public ticket.",
        ),
    ] = False,
) -> None:
    """Show a run again as a table, or write files; - is standard output."""
    asked = {"--html": html_file, "--trace": trace_file, "--json": json_file}
    named = {option: path for option, path in asked.items() if path is not None}
    check("report", ((option, path) for option, path in named.items() if str(path) != "-"))
    try:
        capture = document.read(file)
        capture = without_paths(capture) if no_paths else capture
        texts = [(path, _WRITERS[option](capture)) for option, path in named.items()]
        if not texts:
            with contextlib.suppress(SystemExit, BrokenPipeError):  # the reader closed the pipe
                terminal.report(capture, console_on(sys.stdout), "--json FILE writes all")
    except document.CaptureError as error:
        typer.echo(f"compilespan report: {error}", err=True)
        raise typer.Exit(2) from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        typer.echo(f"compilespan report: {file} is damaged: {error!r}", err=True)
        raise typer.Exit(2) from error
    written = [_put(path, text) for path, text in texts]
    if not all(written):
        raise typer.Exit(1)


def _put(path: Path, text: str) -> bool:
    """Write a text to a file or to standard output; return whether it succeeded."""
    if str(path) != "-":
        return write("report", path, text)
    try:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # the reader closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        typer.echo(f"compilespan report: standard output: {error}", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True
