"""The request that waits for a compile, if the server makes it known."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind

from compilespan import semconv
from compilespan.process.faults import contained
from compilespan.telemetry.propagation import has_ended, is_caller_warming

if TYPE_CHECKING:
    from types import ModuleType

    from compilespan.semconv import Phase


def current_request() -> str | None:
    """Return method and route of the request that is served here, e.g. ``POST /generate``.

    FastAPI keeps the request in OpenTelemetry's context, because its own spans may be current; with
    other instrumentations the server's span itself is current. ``None`` without a request, or if
    the request has ended: a task that it started may outlive it.
    """
    with contained("find out the request that waits for a compile"):
        # Only if the server imported it; FastAPI has this module since 0.165.
        fastapi: ModuleType | None = sys.modules.get("fastapi.telemetry")
        found = _of_fastapi(fastapi) if fastapi is not None else None
        found = found or _of_server_span()
        return semconv.name(found) if found else None
    return None


def phase_of_caller() -> Phase | None:
    """Return ``warmup`` while a request of another process's warmup is served here.

    The baggage alone does not suffice: a task that the request started keeps it.
    """
    with contained("find out whether a request is part of a warmup"):
        if is_caller_warming() and _is_request_served():
            return "warmup"
    return None


def _is_request_served() -> bool:
    span = trace.get_current_span()
    if getattr(span, "kind", None) is SpanKind.SERVER and not has_ended(span):
        return True
    fastapi: Any = sys.modules.get("fastapi.telemetry")
    return fastapi is not None and fastapi.get_telemetry_data() is not None


def _of_fastapi(fastapi: Any) -> str | None:
    data = fastapi.get_telemetry_data()  # None once the request has ended
    if data is None or data.request is None:
        return None
    route = data.request.scope.get("route")
    return f"{data.request.method} {route.path}" if route is not None else None


def _of_server_span() -> str | None:
    span = trace.get_current_span()
    # The API's spans have neither kind nor name; the SDK's have both.
    if getattr(span, "kind", None) is not SpanKind.SERVER or has_ended(span):
        return None
    return str(getattr(span, "name", "")) or None
