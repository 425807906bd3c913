"""The files of a state directory: which of them are journals, and which are old enough to go."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any

from compilespan.journal.locks import is_written

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = ".jsonl"
MAX_FILES = 256
"""Files that a directory keeps; the oldest whose writers are gone are deleted."""

_NAME = re.compile(r"\d{8}T\d{6}-[^/]+-\d+\.jsonl")
_MAX_FIRST_LINE = 65_536


def journals(directory: Path) -> list[Path]:
    """Return the journals of a directory, oldest first; other files are left alone."""
    try:
        return sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name))
    except OSError:
        return []


def prune(directory: Path, keep: int = MAX_FILES) -> None:
    """Delete the oldest journals beyond ``keep`` whose writers are gone."""
    for path in journals(directory)[:-keep]:
        if not is_written(path, first_line(path)):
            with contextlib.suppress(OSError):
                path.unlink()


def first_line(path: Path) -> dict[str, Any]:
    """Return the first line of a journal, which says who writes it; empty if it has none."""
    try:
        with path.open("rb") as file:
            values = json.loads(file.readline(_MAX_FIRST_LINE))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
