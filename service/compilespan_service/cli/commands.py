"""What ``compilespan`` can do; each command in a file of its own."""

from __future__ import annotations

import typer

from compilespan_service.cli.explain import explain
from compilespan_service.cli.report import report
from compilespan_service.cli.run import run
from compilespan_service.cli.serve import serve

app = typer.Typer(
    name="compilespan",
    help="torch.compile, accounted for: encoder and language model apart.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # in its boxes names of variables are cut off
)
app.command()(serve)
app.command()(explain)
app.command()(report)
# What follows the program is the program's.
app.command(context_settings={"allow_interspersed_args": False})(run)
