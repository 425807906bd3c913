"""Requests from the operator's own list, checked one by one."""

from __future__ import annotations

import json
import logging
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUESTS = "COMPILESPAN_VLLM_REQUESTS"
_MAX_CONCURRENT = 256

_logger = logging.getLogger("compilespan")


def free_requests(model: str) -> Iterator[dict[str, Any]]:
    """Yield the requests of ``COMPILESPAN_VLLM_REQUESTS``; ``model`` is their default model.

    The variable is a JSON list, or the path of a file with one. Invalid requests are logged and
    skipped.
    """
    text = os.environ.get(REQUESTS, "").strip()
    if not text:
        return
    try:
        found = json.loads(text if text[0] in "[{" else Path(text).read_text("utf-8"))
    except (OSError, ValueError) as error:
        left_out(REQUESTS, f"it must be JSON, or the path of a JSON file: {error}")
        return
    for number, request in enumerate(found if isinstance(found, list) else [found], 1):
        if (why := next(_faults(request), None)) is not None:
            left_out(REQUESTS, f"request {number}: {why}")
            continue
        path = request.get("path", "/v1/completions")
        yield {
            **request,
            "path": path,
            "json": {"model": model, **request["json"]},
            "shape": request.get("shape") or {"path": path, "request": number},
        }


def left_out(name: str, why: str) -> None:
    """Log that a part of a variable is skipped, and why."""
    _logger.error("compilespan: %s: %s; warmups skip it", name, why)


def _faults(request: Any) -> Iterator[str]:
    """Yield the faults of a request."""
    if not isinstance(request, dict) or not isinstance(request.get("json"), dict):
        yield "it must be an object whose 'json' is an object"
        return
    path, headers = request.get("path", "/"), request.get("headers", {})
    if not isinstance(path, str) or not path.startswith("/"):
        yield "path must begin with /"
    if not isinstance(request.get("method", "POST"), str):
        yield "method must be a string"
    if not isinstance(headers, dict) or not all(isinstance(each, str) for each in headers.values()):
        yield "headers must be an object of strings"
    shape = request.get("shape", {})
    if not isinstance(shape, dict) or not all(_is_scalar(value) for value in shape.values()):
        yield "shape must be an object of strings, numbers, true, false or null"
    count = request.get("concurrent", 1)
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _MAX_CONCURRENT:
        yield f"concurrent must be a whole number from 1 to {_MAX_CONCURRENT}"


def _is_scalar(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (str, int))
