"""What makes compiled artefacts unusable on another machine or in another environment."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import sysconfig
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from compilespan.dynamo import private

if TYPE_CHECKING:
    from collections.abc import Mapping


def facts() -> Mapping[str, str]:
    """Return what all artefacts depend on: versions, machine, device and number of threads."""
    torch = import_module("torch")
    found = {
        "torch": str(torch.__version__),
        "triton": _version("triton"),
        "python": str(sysconfig.get_config_var("SOABI") or platform.python_version()),
        "machine": platform.machine(),
        "cpu": str(torch.backends.cpu.get_cpu_capability()),
        "threads": str(torch.get_num_threads()),
    }
    # torch.cuda would initialise CUDA, and forks of this process could not use it any more.
    found["gpu"] = _gpu()
    return found


def digest(facts: Mapping[str, str]) -> str:
    """Return the name of the namespace of these facts."""
    canonical = json.dumps(dict(facts), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def instruction_set() -> str:
    """Return the instruction set that inductor compiles C++ for; empty if it cannot be found.

    No part of torch's key names it, so a graph for another one would be a hit. torch builds and
    loads a library for each candidate, which takes seconds if its cache directory lacks them.
    """
    import_module(private.INSTRUCTION_SET.module)
    pick = private.INSTRUCTION_SET.found()
    return str(pick()) if pick is not None else ""


def _gpu() -> str:
    """Return the model of the first NVIDIA GPU, from the driver; empty without one."""
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        model = re.search(r"^Model:\s*(.+)$", file.read_text("utf-8", "replace"), re.MULTILINE)
        if model:
            return model[1].strip()
    return ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
