"""Ray's actors, which get of the environment only what vLLM names.

The names that this rests on, tried on vLLM 0.32: ``get_env_vars_to_copy``, as the launcher of
engines and the executor of workers have bound it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from compilespan.dynamo import private
from compilespan.dynamo.patches import Patches
from compilespan.process.faults import contained

if TYPE_CHECKING:
    from collections.abc import Callable

_PREFIXES = ("COMPILESPAN_", "OTEL_", "TRACEPARENT", "TRACESTATE")


class RayActors:
    """Adds what this process was told to what its actors are told.

    vLLM has a variable for it, which would be part of the key of its compile cache.
    """

    def install(self) -> None:
        """Patch what says which variables are copied."""
        Patches().apply(
            {private.VLLM_RAY_ENGINES: self._names},
            {private.VLLM_RAY_WORKERS: self._names},
        )

    def _names(self, wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
        names = wrapped(*args, **kwargs)
        with contained("name the variables that Ray's actors need"):
            return names | {name for name in os.environ if name.upper().startswith(_PREFIXES)}
        return names
