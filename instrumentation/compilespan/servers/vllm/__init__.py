"""The door to vLLM: the only place that knows its private parts.

Installed beside vLLM this is found by its plugin mechanism (``vllm.general_plugins``) in every
process that it starts. Without an OTLP endpoint, a state directory or our middleware nothing
happens: no SDK is imported, nothing is patched.

`monitors` takes over vLLM's own monitor and its per-graph compiles, `captures` its cudagraphs;
`engine` says when it is ready, `server` gives its HTTP server our endpoints, `ray` tells its actors
what this process was told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compilespan.servers import activation

if TYPE_CHECKING:
    from compilespan.servers.vllm.server import MakeEndpoints

_NAME = "vLLM"


def install(make_endpoints: MakeEndpoints | None = None) -> None:
    """Instrument this process if anything is configured. Called by vLLM; never raises.

    Args:
        make_endpoints: Returns what vLLM's server is to attach, as its endpoint plugins are.
    """

    def install_hooks() -> None:
        from compilespan.servers.vllm import hooks  # noqa: PLC0415  # only where it takes part

        hooks.install_hooks(make_endpoints)

    activation.enter(_NAME, install_hooks)


def takes_part() -> bool:
    """Whether this process was instrumented."""
    return activation.takes_part(_NAME)
