"""What is known of this process: its clock, its age, its instance, its device, its forks."""

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
# The wall clock is read once: a step of the system clock moves no moment of this process.
_EPOCH_NS = time.time_ns() - IMPORTED_NS


def epoch_ns(counter_ns: int) -> int:
    """Return the moment of a ``time.perf_counter_ns()`` in nanoseconds since the epoch."""
    return _EPOCH_NS + counter_ns


def now_ns() -> int:
    """Return this moment in nanoseconds since the epoch, on the process's monotonic clock."""
    return epoch_ns(time.perf_counter_ns())


def process_age_ns() -> int:
    """Age of this process in nanoseconds, from the kernel; since the import if it is silent."""
    try:
        started_s = _started_ticks("self") / os.sysconf("SC_CLK_TCK")
        return int((time.clock_gettime(time.CLOCK_BOOTTIME) - started_s) * 1e9)
    except (OSError, ValueError, IndexError, AttributeError):
        return time.perf_counter_ns() - IMPORTED_NS


def instance_id() -> str:
    """Return the id of this start of the server, shared by all its processes.

    The first process to ask draws it and leaves it in the environment for its children. Workers
    whose parent does not import compilespan (uvicorn's and gunicorn's masters import no app)
    derive it from that parent, so that all of them get the same one. It is UTF-8, and has 200
    characters at most.
    """
    found = os.environ.get(INSTANCE_ID)
    if not found:
        found = _siblings_id() or secrets.token_hex(8)
        os.environ[INSTANCE_ID] = found
    return found.encode(errors="replace").decode()[:_MAX_ID_LENGTH]


def is_child() -> bool:
    """Whether this process was forked after the import, or begun by multiprocessing."""
    return _is_forked or _parent_process() is not None


class Renewable(Protocol):
    """Something that a forked child must not share with its parent."""

    def renew(self) -> None:
        """Start afresh in a forked child."""


_renewables: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renewed_after_fork(renewable: Renewable) -> None:
    """Call ``renewable.renew()`` in each child that is forked from now on."""
    _renewables.add(renewable)


_locks: weakref.WeakSet[Any] = weakref.WeakSet()


def fork_safe_lock() -> AbstractContextManager[bool]:
    """Return a reentrant lock that a forked child finds free, whichever other thread held it.

    Reentrant, because a finalizer or a signal handler may compile while its thread holds it. A
    lock of Python's own: an interrupt cannot arrive between taking it and entering its block.
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


# Only os.fork in Python comes here, and not on Windows.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _parent_process() -> Any:
    multiprocessing = sys.modules.get("multiprocessing.process")
    return multiprocessing.parent_process() if multiprocessing is not None else None


def _siblings_id() -> str | None:
    """Return an id that all worker processes of one server derive alike.

    ``None`` where this process is no child of multiprocessing (uvicorn's workers are), no worker
    of gunicorn, or the kernel does not tell when the parent began.
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
    """Return what tells this process from any other: ``pid``, ``host``, ``started_ticks``.

    ``started_ticks`` is ``None`` if the kernel does not say; a number is used again, together
    with these ticks it is not.
    """
    ticks = None
    with suppress(OSError, ValueError, IndexError):
        ticks = _started_ticks("self")
    return {"pid": os.getpid(), "host": platform.node(), "started_ticks": ticks}


def is_alive(pid: int, host: str, started_ticks: int | None) -> bool | None:
    """Whether a process lives, as its `identity` names it; ``None`` if that cannot be known."""
    if host != platform.node() or os.name == "nt":  # os.kill would end it on Windows
        return None
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
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
    """Return what models run on here, as the kernel names it: the first GPU's model, else ``cpu``.

    torch is not asked: it may not be imported yet, and a question may initialise CUDA.
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
