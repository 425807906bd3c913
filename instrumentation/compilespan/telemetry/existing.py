"""Adapts providers that the program or its launcher made (needs the SDK).

`opentelemetry-instrument` and servers make providers before a compile needs them. Three of their
defaults lose or mix telemetry of compiles: ids from ``random``, which Dynamo rewinds; a sampler
that drops what an unsampled request caused; a resource that all workers have in common.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Tracer
from opentelemetry.sdk.trace.sampling import (
    Decision,
    ParentBased,
    Sampler,
    StaticSampler,
    TraceIdRatioBased,
)

from compilespan.process import instance_id
from compilespan.process.faults import contained
from compilespan.telemetry.identity import SERVICE_INSTANCE_ID, is_one_of_many, process_attributes
from compilespan.telemetry.ids import repair
from compilespan.telemetry.sampler import CompileSampler

if TYPE_CHECKING:
    from collections.abc import Callable


class Adaptation:
    """Adapts providers in place, as far as they are the SDK's; a fork inherits what was done."""

    def __init__(self) -> None:
        self._settled: dict[str, tuple[str | None, int]] = {}
        """Ids of processes, each with what it was made from and the process that has it."""

    def adapt(self, tracer_provider: object, meter_provider: object, tracer: object) -> None:
        """Adapt two providers.

        Args:
            tracer_provider: Gets ids that cannot repeat, for all its tracers.
            meter_provider: Its resource gets the attributes of `process_attributes`.
            tracer: Our tracer of this provider: only its spans are always sampled, and only they
                get these attributes.
        """
        with contained("repair the ids of a tracer provider"):
            repair(tracer_provider)
        with contained("describe this process on the spans of compiles"):
            if isinstance(tracer, Tracer):
                tracer.resource = self._described(tracer.resource)
                tracer.sampler = _keeping(tracer.sampler)
        with contained("describe this process on metrics"):
            if isinstance(meter_provider, MeterProvider):
                config: Any = meter_provider._sdk_config  # noqa: SLF001  # it has no public one
                config.resource = self._described(config.resource)

    def _described(self, resource: Resource) -> Resource:
        """Return the resource with our attributes; existing values stay."""
        found = resource.attributes.get(SERVICE_INSTANCE_ID)
        own_id = Resource({SERVICE_INSTANCE_ID: self._id_of(str(found) if found else None)})
        return Resource(process_attributes(None)).merge(resource).merge(own_id)

    def _id_of(self, found: str | None) -> str:
        """Return the id of this process: the existing one, unless other processes have it, too."""
        base, pid = self._settled.get(found or "", (found, 0))
        if pid == os.getpid():
            return str(found)
        is_inherited = pid != 0  # over a fork
        named = OTELResourceDetector().detect().attributes.get(SERVICE_INSTANCE_ID)
        is_shared = is_inherited or (found == named and is_one_of_many())
        own_id = f"{base or instance_id()}-{os.getpid()}" if base is None or is_shared else base
        self._settled[own_id] = (base, os.getpid())
        return own_id


def _keeping(sampler: Sampler) -> Sampler:
    """Return a sampler that keeps all compiles, unless the user chose one that may drop them."""
    named = os.environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    if named in ("", "compilespan") and _keeps_root_spans(sampler):
        return CompileSampler(sampler)
    return sampler


def _keeps_root_spans(sampler: Sampler) -> bool:
    """Whether this is a sampler of the SDK that keeps root spans, or a ratio of them."""
    root = getattr(sampler, "_root", None) if isinstance(sampler, ParentBased) else sampler
    if isinstance(root, StaticSampler):
        return bool(root._decision is Decision.RECORD_AND_SAMPLE)  # noqa: SLF001
    return isinstance(root, TraceIdRatioBased) and root.rate > 0


def metric_flushes(provider: object) -> list[Callable[[], object]]:
    """Return the flushes of a provider's readers that export by themselves.

    Other readers are read by somebody else, e.g. by a scrape. A flush of the whole provider would
    put one more copy of all metrics into the next scrape of Prometheus' reader.
    """
    config: Any = getattr(provider, "_sdk_config", None)
    readers = getattr(provider, "_metric_readers", None) or getattr(config, "metric_readers", ())
    return [
        reader.force_flush
        for reader in readers or ()
        if isinstance(reader, PeriodicExportingMetricReader)
    ]
