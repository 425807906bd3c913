"""Locks on journals, and whether the process that writes one is alive."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any, Protocol

from compilespan.process import is_alive, now_ns

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class HasFileno(Protocol):
    """An open file."""

    def fileno(self) -> int:
        """Return its descriptor."""


STALE_S = 24 * 3600.0
"""Seconds after its last line in which a writer counts as alive, if nothing else decides."""


def lock(file: HasFileno) -> bool | None:
    """Take the lock that shows that a journal's process is alive.

    Returns:
        ``False`` if another process holds it; ``None`` if this filesystem has no locks (Lustre
        and some NFS mounts, Windows).
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_locked(path: Path) -> bool | None:
    """Whether a living process holds the lock; ``None`` if unknown."""
    if fcntl is None:
        return None
    try:
        # Follow no link, and do not block on a pipe that nobody writes.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError:
        return None
    return False


def is_written(path: Path, process: Mapping[str, Any]) -> bool:
    """Whether the process that writes a journal is alive.

    The journal's lock decides; without locks the process id, if it is of this host; else the age
    of the last line. So no living process is reported dead, and no journal in use is deleted.

    Args:
        path: The journal.
        process: Its first line; empty if it has none.
    """
    held = is_locked(path)
    if held or (held is False and process.get("is_locked", True)):
        return held
    pid, host, ticks = (process.get(key) for key in ("pid", "host", "started_ticks"))
    if isinstance(pid, int) and isinstance(host, str):
        alive = is_alive(pid, host, ticks if isinstance(ticks, int) else None)
        if alive is not None:
            return alive
    try:
        return time.time() - path.stat().st_mtime < STALE_S
    except OSError:
        return False


def touch(file: HasFileno, path: Path) -> None:
    """Set a journal's modification time to now, on the clock of the records."""
    now = now_ns()
    with contextlib.suppress(OSError):
        set_times(file.fileno(), path, now, now)


def set_times(descriptor: int, path: Path, accessed_ns: int, modified_ns: int) -> None:
    """Set the times of an open file, by its path if this system accepts no descriptor."""
    with contextlib.suppress(OSError):
        os.utime(descriptor if os.utime in os.supports_fd else path, ns=(accessed_ns, modified_ns))
