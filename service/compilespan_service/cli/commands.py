"""The commands of ``compilespan``; each is defined in its own file."""

from __future__ import annotations

from typing import Annotated

import typer

from compilespan.semconv import __version__
from compilespan_service.cli import cache
from compilespan_service.cli.doctor.command import doctor
from compilespan_service.cli.explain import explain
from compilespan_service.cli.fleet.totals import totals
from compilespan_service.cli.fleet.warm import warm
from compilespan_service.cli.report import report
from compilespan_service.cli.run import run
from compilespan_service.cli.serve import serve

app = typer.Typer(
    name="compilespan",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its boxes cut off names of variables
)


def _tell_version(is_asked: bool) -> None:  # typer calls it
    if is_asked:
        typer.echo(f"compilespan {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[  # its callback has told it
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Show what torch.compile costs: encoder and language model separately."""


app.command()(serve)
app.command()(explain)
app.command()(report)
app.command()(warm)
app.command()(totals)
app.command()(doctor)
app.add_typer(cache.app)
# Options after the program belong to the program.
app.command(context_settings={"allow_interspersed_args": False})(run)
