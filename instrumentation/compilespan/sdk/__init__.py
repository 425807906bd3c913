"""OpenTelemetry providers for a process that has none (extra ``otlp``).

    from compilespan.sdk import configure

    providers = configure()          # from the standard OTEL_* variables
    ...
    providers.shutdown(timeout_s=5)  # bounded, whatever the collector does

A program with its own providers does not need this. The sampler and the id generator can be used
alone, by name: ``OTEL_TRACES_SAMPLER=compilespan``, ``OTEL_PYTHON_ID_GENERATOR=compilespan``.
"""

from compilespan.sdk.importing import import_sdk_without_detectors

try:
    import_sdk_without_detectors()
    from compilespan.sdk.providers import Providers, configure
    from compilespan.sdk.resource import service_resource
    from compilespan.telemetry.sampler import CompileSampler
except ImportError as error:
    msg = (
        f"compilespan.sdk needs the OpenTelemetry SDK and its OTLP exporters ({error}); "
        "install them with: pip install 'compilespan[otlp]'"
    )
    raise ImportError(msg) from error

__all__ = ["CompileSampler", "Providers", "configure", "service_resource"]
