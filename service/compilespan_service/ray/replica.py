"""The warmup of one replica of a fleet."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from typing import TYPE_CHECKING, Any

import ray
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from compilespan import TorchCompileInstrumentor, get_ledger, mark_ready, warm
from compilespan.cache import namespace
from compilespan.cache.sharing import leases
from compilespan.ledger.totals import TotalsBuilder
from compilespan.process.faults import contained
from compilespan.sdk import configure
from compilespan_service.ray.fleet import Fleet
from compilespan_service.ray.lease import ActorLease
from compilespan_service.ray.register import PERIOD_S, Replica

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from compilespan import WarmupTarget
    from compilespan.warmup.plan import WarmupItem, WarmupResult
    from compilespan.warmup.warmup import OnError

_logger = logging.getLogger("compilespan")


def warm_replica(
    targets: Sequence[WarmupTarget],
    *,
    cache: str | None = None,
    name: str | None = None,
    verify: bool = True,
    on_error: OnError = "continue",
    on_item: Callable[[WarmupItem], object] | None = None,
) -> WarmupResult:
    """Warm up this replica; call it in the deployment's ``__init__``.

    Of the replicas that start together one compiles, the others wait for it and load what it has
    published. The process is ready afterwards. If the actor of the fleet cannot be reached, the
    replica warms up by itself, with a warning.

    Args:
        targets: What to warm.
        cache: URL of the compile cache that the replicas share, e.g. ``s3://bucket/cache``;
            defaults to that of ``COMPILESPAN_CACHE_URL``. Without one each replica compiles.
        name: Of the fleet; defaults to ``application/deployment`` in Ray Serve, else ``default``.
        verify: As of `compilespan.warm`.
        on_error: As of `compilespan.warm`.
        on_item: As of `compilespan.warm`.

    Returns:
        The items in order, and what their compiles cost.

    Raises:
        CacheError: ``cache`` cannot be used. A store that does not answer costs a warning only.
    """
    _instrument()
    member = _Member(name or _own_name())
    token = otel_context.attach(TraceContextTextMapPropagator().extract(member.carrier))
    is_warm = False
    try:
        with leases(member.lease):
            result = warm(targets, verify=verify, on_error=on_error, on_item=on_item, cache=cache)
        is_warm = result.is_warm
        return result
    finally:
        otel_context.detach(token)
        mark_ready()
        member.ended(is_warm=is_warm)


def _instrument() -> None:
    """Record this process's compiles, unless somebody else has set that up."""
    instrumentor = TorchCompileInstrumentor()
    if instrumentor.is_instrumented_by_opentelemetry:
        return
    providers: dict[str, Any] = {}
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        with contained("export what a replica compiles"):
            # Not the global ones: the program may set its own later.
            own = configure(set_global=False)
            atexit.register(own.shutdown)
            providers = {
                "tracer_provider": own.tracer_provider,
                "meter_provider": own.meter_provider,
                "logger_provider": own.logger_provider,
            }
    instrumentor.instrument(**providers)


class _Member:
    """This process in a fleet; nothing here raises."""

    def __init__(self, name: str) -> None:
        """Join the fleet of this name."""
        self.carrier: Mapping[str, str] = {}
        self._fleet: Fleet | None = None
        context = ray.get_runtime_context()
        actor, node = context.get_actor_id(), context.get_node_id()
        self._replica = Replica(actor or f"{node}:{os.getpid()}", node, os.getpid())
        try:
            fleet = Fleet(name)
            self.carrier = fleet.call("join", self._replica)
        except Exception as error:  # whatever Ray raises, the replica starts
            _logger.warning(
                "compilespan: this replica warms up by itself: the actor of the fleet %r cannot be "
                "reached: %r",
                *(name, error),
            )
            return
        self._fleet = fleet
        threading.Thread(target=self._report_on, name="compilespan-fleet", daemon=True).start()

    def lease(self, work: str) -> ActorLease | None:
        """Return who leads in this work, in this environment; ``None`` to ask the store."""
        if self._fleet is None:
            return None
        # Replicas in another environment, e.g. with another GPU, cannot use what these build.
        return ActorLease(self._fleet, f"{namespace.digest(namespace.facts())}/{work}")

    def ended(self, *, is_warm: bool) -> None:
        """Say how the warmup ended."""
        self._replica.state = "warm" if is_warm else "not warm"
        self._report()

    def _report_on(self) -> None:
        pause = threading.Event()
        while not pause.wait(PERIOD_S):
            self._report()

    def _report(self) -> None:
        with contained("report to the actor of a fleet"):
            builder = TotalsBuilder()
            get_ledger().add_totals_to(builder)
            self._replica.totals = builder.to_json()
            if self._fleet is not None:
                self._fleet.send("report", self._replica)


def _own_name() -> str:
    with contained("find the name of a Ray Serve deployment"):
        from ray import serve  # noqa: PLC0415  # Ray may be installed without it

        context = serve.get_replica_context()
        return f"{context.app_name}/{context.deployment}"
    return "default"
