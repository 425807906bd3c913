"""Whether artefacts of a directory may be loaded without a signature."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

OTHERS = stat.S_IWGRP | stat.S_IWOTH


def objection(directory: Path) -> str | None:
    """Return who else can write to a directory or replace it; ``None`` if nobody can.

    Args:
        directory: Without links in it.
    """
    for each in (directory, *directory.parents):
        status = each.stat()
        is_own = status.st_uid in (os.geteuid(), 0)
        is_sticky = status.st_mode & stat.S_ISVTX and each != directory
        if not is_own or (status.st_mode & OTHERS and not is_sticky):
            return f"other users can write to {each}, and could run code here"
    return None
