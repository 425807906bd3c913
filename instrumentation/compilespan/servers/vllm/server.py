"""vLLM's HTTP server: our endpoints on it.

The name that this rests on, tried on vLLM 0.32: ``load_endpoint_plugins``, which vLLM looks up when
it builds its app.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from compilespan.dynamo import private
from compilespan.dynamo.patches import Patches
from compilespan.process.faults import contained

MakeEndpoints: TypeAlias = Callable[[Sequence[str]], object]
"""Makes what vLLM calls an endpoint plugin, from the tasks that its model can do."""


class Server:
    """Adds an endpoint plugin that no entry point declares.

    vLLM ignores declared ones, and warns of them, unless ``VLLM_PLUGINS`` names them; and that
    variable is part of the key of its compile cache.
    """

    def __init__(self, make_endpoints: MakeEndpoints) -> None:
        self._make = make_endpoints

    def install(self) -> None:
        """Patch what finds such plugins."""
        Patches().apply({private.VLLM_ENDPOINTS: self._load})

    def _load(self, wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        plugins = wrapped(*args, **kwargs)
        with contained("add endpoints to vLLM's server"):
            tasks = next(iter([*args, *kwargs.values()]), None) or ()
            return [*plugins, self._make(tuple(tasks))]
        return plugins
