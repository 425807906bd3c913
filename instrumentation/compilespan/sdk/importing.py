"""Importing the SDK although a resource detector hangs."""

from __future__ import annotations

import importlib
import os
import sys

_DETECTORS = "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS"


def import_sdk_without_detectors() -> None:
    """Import the SDK's logs, which ask all resource detectors while they are imported.

    What is asked there is only a default that nobody uses; `compilespan.sdk.resource` asks the
    detectors once, with a bound.

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
