"""vLLM, instrumented without touching it: the one door to its private parts.

Installed beside vLLM this is found by its plugin mechanism (``vllm.general_plugins``) in every
process that it starts. Without an OTLP endpoint, a state directory or our middleware nothing
happens: no SDK is imported, nothing is patched.

`activation` decides whether and as what a process takes part, `monitors` takes over vLLM's own
monitor, `pieces` its per-graph compiles, `engine` says when it is ready.
"""

from __future__ import annotations

import logging

_logger = logging.getLogger("compilespan")
_installed = False


def install() -> None:
    """Instrument this process if anything is configured. Called by vLLM; never raises."""
    global _installed  # noqa: PLW0603  # once: a forked worker has what its parent patched
    if _installed:
        return
    _installed = True
    try:
        from compilespan.vllm.activation import is_configured  # noqa: PLC0415  # nothing else yet

        if not is_configured():
            return
        from compilespan.vllm.activation import Process  # noqa: PLC0415

        Process().take_part()
    except Exception:
        _logger.warning("compilespan: this vLLM process is not instrumented", exc_info=True)
