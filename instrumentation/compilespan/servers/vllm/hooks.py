"""All that is patched in a process of vLLM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compilespan.servers.activation import take_part
from compilespan.servers.vllm.captures import Captures
from compilespan.servers.vllm.engine import Engine
from compilespan.servers.vllm.monitors import Monitors
from compilespan.servers.vllm.ray import RayActors
from compilespan.servers.vllm.server import Server

if TYPE_CHECKING:
    from compilespan.servers.vllm.server import MakeEndpoints


def install_hooks(make_endpoints: MakeEndpoints | None) -> None:
    """Take part in a start of vLLM."""
    graphs, starting = take_part("vllm")
    Monitors(graphs).install()
    Captures().install()
    Engine(starting).install()
    RayActors().install()
    if make_endpoints is not None:
        Server(make_endpoints).install()
