"""Files that a command writes at its end; it checks at its start that it can write them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TraceFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--trace", metavar="FILE", help="Write a trace for ui.perfetto.dev."),
]
"""An option that several commands have."""


def check(command: str, files: Iterable[tuple[str, Path]], directory: Path | None = None) -> None:
    """Check that all files can be written.

    Args:
        command: Name of the command, for messages.
        files: Option and path of each file.
        directory: Directory of ``--tlparse``, which is created; ``None`` without it.

    Raises:
        Exit: A file cannot be written; the exit code is 2.
    """
    seen: set[Path] = set()
    if directory is not None:
        with _explained(command, "--tlparse", directory):
            directory.mkdir(parents=True, exist_ok=True)
            _try(directory / ".compilespan")
    for option, path in files:
        with _explained(command, option, path):
            _try(path)
            if path.resolve() in seen:
                raise OSError("another output has the same path")
            seen.add(path.resolve())


@contextlib.contextmanager
def _explained(command: str, option: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        if isinstance(error, FileNotFoundError):
            why = f"there is no directory {path.parent}"
        typer.echo(f"compilespan {command}: {option} {path} cannot be written: {why}", err=True)
        raise typer.Exit(2) from error


def _try(path: Path) -> None:
    """Open a file without changing it.

    Raises:
        OSError: The file cannot be written.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        return  # a pipe or a device: opening it may block
    is_new = not os.path.lexists(path)
    with path.open("ab"):
        pass
    if is_new:
        path.unlink()


def write(command: str, path: Path, text: str) -> bool:
    """Write a file; if that fails, print an error and return ``False``."""
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        typer.echo(f"compilespan {command}: {path} cannot be written: {error}", err=True)
        return False
    return True
