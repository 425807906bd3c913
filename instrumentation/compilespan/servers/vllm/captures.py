"""Cudagraphs that vLLM captures before it is ready, one record for each model of a worker.

The names that this rests on, read in vLLM 0.32 (no GPU was at hand): ``capture_model`` of both
model runners and of the one that has an encoder only, and its ``compilation_config``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compilespan import semconv
from compilespan.components.marks import stated
from compilespan.dynamo import private
from compilespan.dynamo.patches import Patches
from compilespan.monitor.unit import Unit
from compilespan.monitor.window import Window
from compilespan.process.faults import contained

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = "cudagraphs"


class Captures:
    """Wraps what captures all graphs of a model."""

    def install(self) -> None:
        """Patch it."""
        Patches().apply(
            {private.VLLM_CAPTURE: self._model},
            {private.VLLM_CAPTURE_V2: self._model},
            {private.VLLM_CAPTURE_ENCODER: self._encoder},
        )

    def _model(self, wrapped: Callable[..., Any], runner: Any, args: Any, kwargs: Any) -> Any:
        return _captured(wrapped, runner, args, kwargs, is_encoder=False)

    def _encoder(self, wrapped: Callable[..., Any], runner: Any, args: Any, kwargs: Any) -> Any:
        return _captured(wrapped, runner, args, kwargs, is_encoder=True)


def _captured(
    wrapped: Callable[..., Any], runner: Any, args: Any, kwargs: Any, *, is_encoder: bool
) -> Any:
    window: Window | None = None
    with contained("name what vLLM captures"):
        if _captures(runner):
            model = getattr(runner, "model", None)
            name = _NAME if model is None else f"{type(model).__name__} {_NAME}"
            component = stated(is_encoder=is_encoder)
            unit = Unit(semconv.name(name), "cudagraph", kind="capture", stated=component)
            window = Window(unit)
    if window is None:
        return wrapped(*args, **kwargs)
    with window:
        return wrapped(*args, **kwargs)


def _captures(runner: Any) -> bool:
    """Whether it is not told to capture none."""
    mode = getattr(getattr(runner, "compilation_config", None), "cudagraph_mode", None)
    return getattr(mode, "name", "") != "NONE"
