"""Whether artefacts of a store may be loaded without a signature."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def objection(directory: str | None) -> str | None:
    """Return why artefacts of an unsigned store are refused; ``None`` if they may be loaded.

    Args:
        directory: The store, if it is a directory of this machine; ``None`` for another one.
    """
    if directory is None:
        return "artefacts are code, and whoever can write to this store could run it here"
    path = Path(directory).absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each in (path.resolve(), *path.resolve().parents):
            status = each.stat()
            is_own = status.st_uid in (os.geteuid(), 0)
            is_sticky = status.st_mode & stat.S_ISVTX and each != path.resolve()
            if not is_own or (status.st_mode & _OTHERS and not is_sticky):
                return f"other users can write to {each}, and could run code here"
    except OSError as error:
        return f"{path} cannot be used: {error.strerror}"
    return None
