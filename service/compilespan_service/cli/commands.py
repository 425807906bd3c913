"""The commands of ``compilespan``; each is defined in its own file."""

from __future__ import annotations

import typer

from compilespan_service.cli import cache
from compilespan_service.cli.explain import explain
from compilespan_service.cli.report import report
from compilespan_service.cli.run import run
from compilespan_service.cli.serve import serve

app = typer.Typer(
    name="compilespan",
    help="Show what torch.compile costs: encoder and language model separately.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its boxes cut off names of variables
)
app.command()(serve)
app.command()(explain)
app.command()(report)
app.add_typer(cache.app)
# Options after the program belong to the program.
app.command(context_settings={"allow_interspersed_args": False})(run)
