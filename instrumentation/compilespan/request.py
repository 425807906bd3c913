"""The request that waits for a compile, where somebody who serves it tells."""

from __future__ import annotations

import logging
import sys

from opentelemetry import trace
from opentelemetry.trace import SpanKind

_MAX_LENGTH = 256

_logger = logging.getLogger("compilespan")


def current_request() -> str | None:
    """Return method and route of the request that is served here, e.g. ``POST /generate``.

    FastAPI keeps the request in OpenTelemetry's context, below spans of its own; with other
    instrumentations the server's span itself is current. ``None`` where neither is.
    """
    try:
        found = _of_fastapi() or _of_server_span()
    except Exception:
        _logger.debug("compilespan: the request of a compile is not known", exc_info=True)
        return None
    return found[:_MAX_LENGTH] if found else None


def _of_fastapi() -> str | None:
    # Only where the server imported it; before FastAPI 0.165 there is no such module.
    telemetry = sys.modules.get("fastapi.telemetry")
    data = telemetry.get_telemetry_data() if telemetry is not None else None
    if data is None or data.request is None:
        return None
    route = data.request.scope.get("route")
    return f"{data.request.method} {route.path}" if route is not None else None


def _of_server_span() -> str | None:
    span = trace.get_current_span()
    # The API's spans have neither; the SDK's have both.
    if getattr(span, "kind", None) is not SpanKind.SERVER:
        return None
    return str(getattr(span, "name", "")) or None
