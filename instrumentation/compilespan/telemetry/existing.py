"""Adapts providers that the program or its launcher made (needs the SDK).

`opentelemetry-instrument` and servers make providers before a compile needs them. Three of their
defaults lose or mix telemetry of compiles: ids from ``random``, which Dynamo rewinds; a sampler
that drops what an unsampled request caused; a resource that all workers have in common.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Tracer
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from compilespan.faults import contained
from compilespan.telemetry.identity import SERVICE_INSTANCE_ID, process_attributes
from compilespan.telemetry.ids import repair
from compilespan.telemetry.sampler import CompileSampler

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.sampling import Sampler


def adapt(tracer_provider: object, meter_provider: object, tracer: object) -> None:
    """Adapt providers in place, as far as they are the SDK's.

    Args:
        tracer_provider: Gets ids that cannot repeat, for all its tracers.
        meter_provider: Its resource gets the attributes of `process_attributes`.
        tracer: Our tracer of this provider: only its spans are always sampled, and only they get
            these attributes.
    """
    with contained("repair the ids of a tracer provider"):
        repair(tracer_provider)
    with contained("describe this process on the spans of compiles"):
        if isinstance(tracer, Tracer):
            tracer.resource = _described(tracer.resource)
            tracer.sampler = _keeping(tracer.sampler)
    with contained("describe this process on metrics"):
        if isinstance(meter_provider, MeterProvider):
            config: Any = meter_provider._sdk_config  # noqa: SLF001  # it has no public one
            config.resource = _described(config.resource)


def _described(resource: Resource) -> Resource:
    """Return the resource with our attributes; existing values stay, except the process's id."""
    named = resource.attributes.get(SERVICE_INSTANCE_ID)
    ours = process_attributes(str(named) if named else None)
    own_id = Resource({SERVICE_INSTANCE_ID: ours[SERVICE_INSTANCE_ID]})
    return Resource(ours).merge(resource).merge(own_id)


def _keeping(sampler: Sampler) -> Sampler:
    """Return a sampler that keeps all compiles, unless the user chose one that may drop them."""
    if isinstance(sampler, CompileSampler) or sampler is ALWAYS_OFF or _is_sampler_chosen():
        return sampler
    return CompileSampler(sampler)


def _is_sampler_chosen() -> bool:
    """Whether the environment names a sampler other than ours."""
    named = os.environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    return named not in ("", "compilespan")
