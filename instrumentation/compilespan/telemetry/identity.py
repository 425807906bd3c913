"""Resource attributes that identify this process among those of its start."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import sys

from compilespan import semconv
from compilespan.process import instance_id, is_child

SERVICE_INSTANCE_ID = "service.instance.id"


def process_attributes(named: str | None) -> dict[str, str | int]:
    """Return instance ids, torch's version, and rank and world size if there are several ranks.

    ``service.instance.id`` is unique per process, because metric streams of two processes must not
    mix. A given value is used as it is; in a child process or one of several ranks the pid is
    appended. ``compilespan.instance.id`` is shared by all processes of a start.

    Args:
        named: ``service.instance.id`` that the operator or the program chose; ``None`` if nobody
            did.
    """
    instance = instance_id()
    one_of_many = f"{named or instance}-{os.getpid()}"
    attributes: dict[str, str | int] = {
        SERVICE_INSTANCE_ID: named if named and not is_one_of_many() else one_of_many,
        semconv.INSTANCE: instance,
    }
    if torch := torch_version():
        attributes[semconv.TORCH_VERSION] = torch
    return attributes | distributed()


def is_one_of_many() -> bool:
    """Whether other processes may have the same environment: a child, or one of several ranks."""
    return is_child() or distributed().get(semconv.WORLD_SIZE, 1) > 1


@functools.lru_cache(maxsize=1)
def torch_version() -> str | None:
    """Return the version of the installed torch, which is read from disk, without its import."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version("torch")
    return None


def distributed() -> dict[str, int]:
    """Return rank and world size, from torch.distributed if initialised, else from the launcher."""
    distributed = sys.modules.get("torch.distributed")
    with contextlib.suppress(Exception):  # telemetry must not prevent the start
        if distributed is not None and distributed.is_initialized():
            return {
                semconv.RANK: distributed.get_rank(),
                semconv.WORLD_SIZE: distributed.get_world_size(),
            }
    return {
        attribute: int(value)
        for variable, attribute in (("RANK", semconv.RANK), ("WORLD_SIZE", semconv.WORLD_SIZE))
        if (value := os.environ.get(variable, "")).isdecimal()
    }
