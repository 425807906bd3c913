"""Attributes of events, as they may be kept and sent."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from compilespan import semconv

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

_logger = logging.getLogger("compilespan")


def cleaned(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    """Return them bounded, in valid UTF-8, and without durations (rule 3)."""
    kept: dict[str, AttributeValue] = {}
    for key, value in attributes.items():
        if semconv.is_duration(key):
            _logger.debug("compilespan: event attribute %r is a duration and left out", key)
        else:
            kept[semconv.name(key)] = _clean(value)
    return kept


def _clean(value: AttributeValue) -> AttributeValue:
    if isinstance(value, str):
        return semconv.text(value)
    if isinstance(value, (list, tuple)):
        return [semconv.text(each) if isinstance(each, str) else each for each in value]  # type: ignore[return-value]
    return value
