"""Compiles and loads that are one function call and never enter Dynamo's metrics context."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from compilespan.components import EncoderNames, marked_as
from compilespan.dynamo import frames
from compilespan.unit import Unit
from compilespan.window import Around, closed, opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from compilespan.dynamo.graphs import GraphWatch
    from compilespan.dynamo.owners import OwnerMemory
    from compilespan.semconv import Kind, Trigger

_logger = logging.getLogger("compilespan")

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class Calls:
    """Opens a window around a call; one that lies in another window is that one's event."""

    def __init__(self, names: EncoderNames, owners: OwnerMemory, graphs: GraphWatch) -> None:
        self._graphs = graphs
        self._names = names
        self._owners = owners

    def standalone_compile(
        self, wrapped: Callable[..., Any], _: Any, args: Args, kwargs: Kwargs
    ) -> Any:
        """``torch._inductor.standalone_compile``: a graph that a backend compiles by itself."""
        return self._around(wrapped, args, kwargs, "standalone", "compile", "standalone_compile")

    def load_cache_artifacts(
        self, wrapped: Callable[..., Any], _: Any, args: Args, kwargs: Kwargs
    ) -> Any:
        """``torch.compiler.load_cache_artifacts``, and what it fills the caches with."""
        return self._around(wrapped, args, kwargs, "cache_load", "load", "cache_artifacts")

    def load_aot_compiled(
        self, wrapped: Callable[..., Any], _: Any, args: Args, kwargs: Kwargs
    ) -> Any:
        """``AOTCompiledFunction.deserialize``: what every load of an AOT artefact calls."""
        return self._around(wrapped, args, kwargs, "aot_load", "load", "aot_compiled_function")

    def cudagraph_recording(self, recording: Any, compile_id: str) -> Any:
        """Return ``recording``, a context manager, inside a window of kind ``capture``."""
        forward = self._owners.forward(compile_id)
        return Around(
            recording,
            Unit(
                forward.name if forward else "cudagraph",
                "cudagraph",
                "capture",
                said=forward.is_encoder if forward else None,
                by_names=False,
                compile_id=compile_id,
            ),
        )

    def _around(
        self,
        wrapped: Callable[..., Any],
        args: Args,
        kwargs: Kwargs,
        trigger: Trigger,
        kind: Kind,
        name: str,
    ) -> Any:
        window = None
        if self._graphs.in_piece:  # the piece's own event says it
            return wrapped(*args, **kwargs)
        try:
            subject = frames.Subject(frames.caller(), None)
            unit = Unit(
                subject.name or name,
                trigger,
                kind,
                mark=marked_as(subject.chain),
                by_names=self._names.is_encoder(subject.class_names),
            )
            window = opened(unit)
        except Exception:
            _logger.debug("compilespan: a %s went unseen", trigger, exc_info=True)
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as error:
            closed(window, error, "failed")
            raise
        closed(window, None, "ok")
        return result
