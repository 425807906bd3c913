"""The ``compilespan`` command (extra ``cli``)."""

from __future__ import annotations

import sys

_NEEDED = {
    "typer": "cli",
    "rich": "cli",
    "httpx": "service",
    "opentelemetry.exporter.prometheus": "service",
    "prometheus_client": "service",
    "fastapi": "service",
    "pydantic": "service",
    "uvicorn": "service",
    "opentelemetry.sdk": "otlp",
    "transformers": "demo",
}


def main() -> None:
    """Run the command; without an extra that it needs, say which."""
    try:
        from compilespan_service.cli.commands import app  # noqa: PLC0415
    except ModuleNotFoundError as error:
        sys.exit(missing(error))
    app()


def missing(error: ModuleNotFoundError) -> str:
    """Return what to install, in words, when a module is not there.

    Raises:
        ModuleNotFoundError: ``error`` itself, where no extra of ours brings the module.
    """
    name = error.name or ""
    for module, extra in _NEEDED.items():
        if name == module or name.startswith(module + "."):
            return (
                f"compilespan: this command needs {name!r}, which is not installed. "
                f"Install it with: pip install 'compilespan[{extra}]'"
            )
    raise error
