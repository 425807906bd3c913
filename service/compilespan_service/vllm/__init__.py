"""vLLM: the plugin that it calls in each of its processes, and our endpoints on its server.

`endpoints` is attached to vLLM's server and `exposed` adds our metrics to vLLM's. `plan` has the
requests that warm the server, `transport` sends them. `middleware` replaces `endpoints` in versions
of vLLM without endpoint plugins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compilespan.servers import vllm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compilespan_service.vllm.middleware import CompileRoutes as CompileRoutes


def install() -> None:
    """Instrument this process, if anything is configured (``vllm.general_plugins``)."""
    vllm.install(_endpoints)


def _endpoints(tasks: Sequence[str]) -> object:
    from compilespan_service.vllm.endpoints import Endpoints  # noqa: PLC0415  # for a server only

    return Endpoints(tasks)


def __getattr__(name: str) -> Any:
    if name == "CompileRoutes":
        from compilespan_service.vllm.middleware import CompileRoutes  # noqa: PLC0415  # likewise

        return CompileRoutes
    msg = f"module 'compilespan_service.vllm' has no attribute {name!r}"
    raise AttributeError(msg)
