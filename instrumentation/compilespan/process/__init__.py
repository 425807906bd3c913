"""Facts about this process: its clock, age, instance, device and forks."""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import sys
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

INSTANCE_ID = "COMPILESPAN_INSTANCE_ID"
_MAX_ID_LENGTH = 200

IMPORTED_NS = time.perf_counter_ns()
"""When compilespan was imported, as ``time.perf_counter_ns()``."""
# The wall clock is read once, so that a step of the system clock does not shift our times.
_EPOCH_NS = time.time_ns() - IMPORTED_NS


def epoch_ns(counter_ns: int) -> int:
    """Return the moment of a ``time.perf_counter_ns()`` in nanoseconds since the epoch."""
    return _EPOCH_NS + counter_ns


def now_ns() -> int:
    """Return this moment in nanoseconds since the epoch, on the process's monotonic clock."""
    return epoch_ns(time.perf_counter_ns())


def process_age_ns() -> int:
    """Age of this process in nanoseconds, from the kernel; time since the import if unknown."""
    try:
        started_s = _started_ticks("self") / os.sysconf("SC_CLK_TCK")
        return int((time.clock_gettime(time.CLOCK_BOOTTIME) - started_s) * 1e9)
    except (OSError, ValueError, IndexError, AttributeError):
        return time.perf_counter_ns() - IMPORTED_NS


def instance_id() -> str:
    """Return the id of this start of the server, shared by all its processes.

    The first process that calls this generates the id and sets it in the environment for its
    children. Workers whose parent does not import compilespan (uvicorn's and gunicorn's masters
    import no app) derive it from that parent, so that all of them get the same id. It is valid
    UTF-8 with at most 200 characters.
    """
    found = os.environ.get(INSTANCE_ID)
    if not found:
        found = _siblings_id() or secrets.token_hex(8)
        os.environ[INSTANCE_ID] = found
    return found.encode(errors="replace").decode()[:_MAX_ID_LENGTH]


def is_child() -> bool:
    """Whether this process was forked after the import, or started by multiprocessing."""
    return _is_forked or _parent_process() is not None


class Renewable(Protocol):
    """Something that a forked child must not share with its parent."""

    def renew(self) -> None:
        """Reset the state in a forked child."""


_renewables: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renewed_after_fork(renewable: Renewable) -> None:
    """Call ``renewable.renew()`` in each child that is forked from now on."""
    _renewables.add(renewable)


_locks: weakref.WeakSet[Any] = weakref.WeakSet()


def fork_safe_lock() -> AbstractContextManager[bool]:
    """Return a reentrant lock that is free in a forked child, even if another thread held it.

    It is reentrant because a finalizer or a signal handler may compile while its thread holds it.
    It is Python's own: an interrupt cannot arrive between taking it and entering its block.
    """
    lock = threading.RLock()
    _locks.add(lock)
    return lock


_is_forked = False


def _after_fork() -> None:
    global _is_forked  # noqa: PLW0603
    _is_forked = True
    for lock in list(_locks):
        if not lock._is_owned():  # noqa: SLF001  # as threading and logging do it
            lock._at_fork_reinit()  # noqa: SLF001
    for renewable in list(_renewables):
        renewable.renew()


# Only Python's os.fork runs this; Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _parent_process() -> Any:
    multiprocessing = sys.modules.get("multiprocessing.process")
    return multiprocessing.parent_process() if multiprocessing is not None else None


def _siblings_id() -> str | None:
    """Return an id that is the same in all worker processes of one server.

    ``None`` if this process is neither a child of multiprocessing (uvicorn's workers are) nor a
    worker of gunicorn, or if the kernel does not report when the parent began.
    """
    parent = _parent_process()
    pid = parent.pid if parent is not None else os.getppid()
    try:
        if parent is None and b"gunicorn" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            return None
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
        identity = f"{boot_id} {pid} {_started_ticks(pid)}"
    except (OSError, ValueError, IndexError):
        return None
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def identity() -> dict[str, str | int | None]:
    """Return what identifies this process: ``pid``, ``host``, ``started_ticks``.

    ``started_ticks`` is ``None`` if the kernel does not report it. The kernel reuses a pid, but
    not together with the same ticks.
    """
    ticks = None
    with suppress(OSError, ValueError, IndexError):
        ticks = _started_ticks("self")
    return {"pid": os.getpid(), "host": platform.node(), "started_ticks": ticks}


def is_alive(pid: int, host: str, started_ticks: int | None) -> bool | None:
    """Whether the process with this `identity` is alive; ``None`` if unknown."""
    if host != platform.node() or os.name == "nt":  # os.kill would end it on Windows
        return None
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's process
        pass
    if started_ticks is None:
        return None
    try:
        return _started_ticks(pid) == started_ticks
    except (OSError, ValueError, IndexError):
        return None


def _started_ticks(pid: int | str) -> int:
    """Clock ticks from the boot to the start of a process."""
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])


def device() -> str:
    """Return the device of this machine: the first GPU's model as the kernel names it, or ``cpu``.

    torch is not used: it may not be imported yet, and calling it may initialise CUDA.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return "cpu"
    for information in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        try:
            for line in information.read_text("utf-8").splitlines():
                name, _, value = line.partition(":")
                if name == "Model":
                    return value.strip()
        except OSError:
            continue
    return "cpu"
