"""The door to vLLM: the only place that knows its private parts.

Installed beside vLLM this is found by its plugin mechanism (``vllm.general_plugins``) in every
process that it starts. Without an OTLP endpoint, a state directory or our middleware nothing
happens: no SDK is imported, nothing is patched.

`monitors` takes over vLLM's own monitor and its per-graph compiles, `captures` its cudagraphs;
`engine` says when it is ready, `server` gives its HTTP server our endpoints, `ray` tells its actors
what this process was told.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compilespan.servers.vllm.server import MakeEndpoints

_logger = logging.getLogger("compilespan")
_installed = False
_takes_part = False


def install(make_endpoints: MakeEndpoints | None = None) -> None:
    """Instrument this process if anything is configured. Called by vLLM; never raises.

    Args:
        make_endpoints: Returns what vLLM's server is to attach, as its endpoint plugins are.
    """
    global _installed, _takes_part  # noqa: PLW0603  # once: a forked worker has what its parent has
    if _installed:
        return
    _installed = True
    try:
        from compilespan.servers.activation import is_configured  # noqa: PLC0415  # nothing else yet

        if not is_configured():
            return
        from compilespan.servers.vllm.hooks import install_hooks  # noqa: PLC0415

        install_hooks(make_endpoints)
        _takes_part = True
    except Exception:
        _logger.warning("compilespan: this vLLM process is not instrumented", exc_info=True)


def takes_part() -> bool:
    """Whether this process was instrumented."""
    return _takes_part
