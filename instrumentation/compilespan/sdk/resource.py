"""What the telemetry of this process is about."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import logging
import os
import sys
import threading

from opentelemetry.sdk.environment_variables import (
    OTEL_EXPERIMENTAL_RESOURCE_DETECTORS,
    OTEL_RESOURCE_ATTRIBUTES,
    OTEL_SERVICE_NAME,
)
from opentelemetry.sdk.resources import (
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    OTELResourceDetector,
    Resource,
)

from compilespan import semconv
from compilespan.process import instance_id

_DETECTORS_S = 2.0
_READ = (OTEL_EXPERIMENTAL_RESOURCE_DETECTORS, OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME)

_logger = logging.getLogger("compilespan")


def service_resource(service_name: str = "compilespan") -> Resource:
    """Return what the telemetry of this process is about: service, instance, torch, rank.

    ``service.instance.id`` is the process's: metric streams of two processes must not mix.
    ``compilespan.instance.id`` is what all processes of this start share.
    """
    instance = instance_id()
    attributes: dict[str, str | int] = {
        SERVICE_INSTANCE_ID: f"{instance}-{os.getpid()}",
        semconv.INSTANCE: instance,
    }
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        attributes[semconv.TORCH_VERSION] = importlib.metadata.version("torch")
    attributes |= _distributed()
    resource = _detected(os.getpid(), *(os.environ.get(name) for name in _READ))
    resource = resource.merge(Resource(attributes))
    if str(resource.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: service_name}))
    return resource


def _distributed() -> dict[str, int]:
    """Rank and world size, as torch knows them once it is initialised, else as the launcher."""
    distributed = sys.modules.get("torch.distributed")
    with contextlib.suppress(Exception):  # telemetry is no reason not to start
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


@functools.lru_cache(maxsize=1)
def _detected(_pid: int, *_environment: str | None) -> Resource:
    """Ask the resource detectors of the environment, once in each process and for two seconds.

    OpenTelemetry waits for a detector as long as it takes, e.g. for a metadata server that is
    not there.
    """
    found: list[Resource] = []
    thread = threading.Thread(
        target=lambda: found.append(Resource.create()), name="compilespan-detectors", daemon=True
    )
    thread.start()
    thread.join(_DETECTORS_S)
    if found:
        return found[0]
    _logger.warning(
        "compilespan: a resource detector did not answer within %.0f s and is left out; "
        "take it out of OTEL_EXPERIMENTAL_RESOURCE_DETECTORS.",
        _DETECTORS_S,
    )
    return Resource.get_empty().merge(OTELResourceDetector().detect())
