"""What the kernel knows of this process: its age from before Python began, and its parent."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from pathlib import Path

_IMPORTED_NS = time.monotonic_ns()


def process_age_ns() -> int:
    """Age of this process in nanoseconds, from the kernel; since the import where it is silent."""
    try:
        started_s = _started_ticks("self") / os.sysconf("SC_CLK_TCK")
        return int((time.clock_gettime(time.CLOCK_BOOTTIME) - started_s) * 1e9)
    except (OSError, ValueError, IndexError, AttributeError):
        return time.monotonic_ns() - _IMPORTED_NS


def siblings_id() -> str | None:
    """Return an id that all worker processes of one server derive alike.

    ``None`` where this process is no child of multiprocessing (uvicorn's workers are), no worker
    of gunicorn, or the kernel does not tell when the parent began.
    """
    multiprocessing = sys.modules.get("multiprocessing.process")
    parent = multiprocessing.parent_process() if multiprocessing is not None else None
    pid = parent.pid if parent is not None else os.getppid()
    try:
        if parent is None and b"gunicorn" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            return None
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
        identity = f"{boot_id} {pid} {_started_ticks(pid)}"
    except (OSError, ValueError, IndexError):
        return None
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


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
