"""The OpenTelemetry resource of this process."""

from __future__ import annotations

import functools
import logging
import os
import platform
import threading

from opentelemetry import trace
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPERIMENTAL_RESOURCE_DETECTORS,
    OTEL_RESOURCE_ATTRIBUTES,
    OTEL_SERVICE_NAME,
)
from opentelemetry.sdk.resources import (
    HOST_NAME,
    PROCESS_PID,
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
)

from compilespan import semconv
from compilespan.process import device
from compilespan.telemetry.identity import process_attributes

_DETECTORS_S = 2.0
_READ = (OTEL_EXPERIMENTAL_RESOURCE_DETECTORS, OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME)

_logger = logging.getLogger("compilespan")


def service_resource(
    service_name: str = "compilespan", startup_trace_id: int | None = None
) -> Resource:
    """Return the resource of this process: service, instance, torch, rank, machine.

    `compilespan.telemetry.identity` describes how the ids are chosen.

    Args:
        service_name: Default if the environment sets none.
        startup_trace_id: Trace id of the start of this process, if it emits one.
    """
    named = OTELResourceDetector().detect().attributes.get(SERVICE_INSTANCE_ID)
    attributes = process_attributes(str(named) if named else None)
    if startup_trace_id:
        attributes[semconv.STARTUP_TRACE] = trace.format_trace_id(startup_trace_id)
    machine: dict[str, str | int] = {
        HOST_NAME: platform.node(),
        PROCESS_PID: os.getpid(),
        semconv.DEVICE: device(),
    }
    detected = _detected(os.getpid(), *(os.environ.get(name) for name in _READ))
    resource = Resource(machine).merge(detected).merge(Resource(attributes))
    if str(resource.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
        own = {SERVICE_VERSION: semconv.__version__} if service_name == semconv.SCOPE else {}
        resource = Resource(own).merge(resource).merge(Resource({SERVICE_NAME: service_name}))
    return resource


@functools.lru_cache(maxsize=1)
def _detected(_pid: int, *_environment: str | None) -> Resource:
    """Run the environment's resource detectors, once per process and for at most two seconds.

    OpenTelemetry waits for a detector without limit, e.g. for a metadata server that does not
    exist.
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
        "compilespan: the resource detectors did not finish within %.0f s, so their attributes "
        "are missing; remove the slow one from OTEL_EXPERIMENTAL_RESOURCE_DETECTORS.",
        _DETECTORS_S,
    )
    return Resource.get_empty().merge(OTELResourceDetector().detect())
