"""Import the SDK even if a resource detector hangs."""

from __future__ import annotations

import importlib
import os
import sys

_DETECTORS = "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS"


def import_sdk_without_detectors() -> None:
    """Import the SDK's logs, whose import would run all resource detectors.

    Their result there is only a default that nobody uses; `compilespan.sdk.resource` runs the
    detectors once, with a time limit.

    Raises:
        ImportError: The SDK is not installed.
    """
    if "opentelemetry.sdk._logs" in sys.modules:
        return
    named = os.environ.pop(_DETECTORS, None)
    try:
        importlib.import_module("opentelemetry.sdk._logs")
    finally:
        if named is not None:
            os.environ[_DETECTORS] = named
