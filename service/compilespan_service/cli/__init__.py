"""The ``compilespan`` command (extra ``cli``)."""

from __future__ import annotations

import sys
from importlib.util import find_spec

_NEEDED = {
    "cli": ("httpx", "httpx_sse", "rich", "typer"),
    "service": (
        "fastapi",
        "httpx",
        "opentelemetry.exporter.prometheus",
        "opentelemetry.sdk",
        "prometheus_client",
        "pydantic",
        "uvicorn",
    ),
}
"""Modules by the extra that installs them."""


def main() -> None:
    """Run the command. Exit with one sentence if the extra ``cli`` is not installed."""
    require("cli")
    from compilespan_service.cli.commands import app  # noqa: PLC0415

    app()


def require(extra: str) -> None:
    """Exit with one sentence if a module of an extra is missing.

    Args:
        extra: ``cli`` or ``service``.
    """
    missing = [name for name in _NEEDED[extra] if not _is_installed(name)]
    if missing:
        sys.exit(
            f"compilespan: this command needs {', '.join(missing)}, which is not installed. "
            f"Install it with: pip install 'compilespan[{extra}]'"
        )


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # a package above it is missing
        return False
