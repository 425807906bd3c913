"""The door to SGLang: the only place that knows its private parts.

Installed beside SGLang this is found by its plugin mechanism (``sglang.srt.plugins``) in every
process that it starts. Without an OTLP endpoint or a state directory nothing happens. It records;
endpoints are those of ``compilespan serve`` with an ``HttpTarget``.
"""

from __future__ import annotations

import logging

_logger = logging.getLogger("compilespan")
_installed = False


def install() -> None:
    """Instrument this process if anything is configured. Called by SGLang; never raises."""
    global _installed  # noqa: PLW0603  # once: a forked worker has what its parent patched
    if _installed:
        return
    _installed = True
    try:
        from compilespan.servers.activation import is_configured  # noqa: PLC0415  # nothing else yet

        if not is_configured():
            return
        from compilespan.servers.sglang.hooks import install_hooks  # noqa: PLC0415

        install_hooks()
    except Exception:
        _logger.warning("compilespan: this SGLang process is not instrumented", exc_info=True)
