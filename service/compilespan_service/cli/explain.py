"""``compilespan explain``: the page of a finding's code."""

from __future__ import annotations

from typing import Annotated

import typer

from compilespan.findings.explained import codes, explained


def explain(
    code: Annotated[str, typer.Argument(metavar="CODE", help="Code of a finding, e.g. CS010.")],
) -> None:
    """Explain a finding: what it is, and what to do about it."""
    page = explained(code.upper())
    if page is None:
        known = ", ".join(codes())
        typer.echo(f"compilespan explain: unknown code {code}; known codes: {known}", err=True)
        raise typer.Exit(2)
    typer.echo(page.rstrip())
