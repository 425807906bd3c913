"""Cleaning of event attributes before they are kept and sent."""

from __future__ import annotations

import functools
import logging
import math
from typing import TYPE_CHECKING

from compilespan import semconv

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

_logger = logging.getLogger("compilespan")

MAX_INTEGER = 2**63
MAX_ITEMS = 1024
"""Items kept of an attribute that is a list."""


def cleaned(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    """Return the attributes bounded, in valid UTF-8, and without durations (rule 3)."""
    kept: dict[str, AttributeValue] = {}
    for key, value in attributes.items():
        name = _name(key)
        if name is None:
            _logger.debug("compilespan: event attribute %r is dropped: it is a duration", key)
        else:
            kept[name] = _clean(value)
    return kept


@functools.lru_cache(maxsize=256)
def _name(key: str) -> str | None:
    """Return the cleaned name of an attribute; ``None`` for a duration."""
    return None if semconv.is_duration(key) else semconv.name(key)


def _clean(value: AttributeValue) -> AttributeValue:
    if isinstance(value, (list, tuple)):
        return [_scalar(each) for each in value[:MAX_ITEMS]]  # type: ignore[return-value]
    return _scalar(value)


def _scalar(value: object) -> str | bool | int | float:
    """Return a value that every output accepts: text unless it is a plain, finite value."""
    if isinstance(value, int) and -MAX_INTEGER <= value < MAX_INTEGER:  # OTLP has 64 bits
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return semconv.text(value)
