"""Compiles and loads that are one function call and never enter Dynamo's metrics context."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compilespan import semconv
from compilespan.components.marks import attributes_of
from compilespan.dynamo import frames
from compilespan.dynamo.subject import subject_at
from compilespan.faults import contained
from compilespan.monitor.unit import Unit
from compilespan.monitor.window import Window, around

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from compilespan.components.chain import ComponentNames
    from compilespan.dynamo.graphs import GraphWatch
    from compilespan.dynamo.owners import OwnerMemory
    from compilespan.semconv import Kind, Trigger

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class Calls:
    """Opens a window around a call; one that lies in another window is that one's event."""

    def __init__(self, names: ComponentNames, owners: OwnerMemory, graphs: GraphWatch) -> None:
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

    def load_aoti(self, wrapped: Callable[..., Any], _: Any, args: Args, kwargs: Kwargs) -> Any:
        """``_load_aoti``: what every load of an AOTInductor package calls, once per model."""
        return self._around(wrapped, args, kwargs, "aot_load", "load", _package_name(args, kwargs))

    def install_precompiled(
        self, wrapped: Callable[..., Any], package: Any, args: Args, kwargs: Kwargs
    ) -> Any:
        """``CompilePackage.install``: loads what ``caching_precompile`` stored."""
        compiled = attributes_of(package)
        if not any(_is_loadable(entry) for entry in (compiled.get("_codes") or {}).values()):
            return wrapped(*args, **kwargs)
        given = compiled.get("_innermost_fn")
        return self._around(wrapped, args, kwargs, "aot_load", "load", "precompiled", given)

    def cudagraph_recording(self, recording: Any, compile_id: str) -> Any:
        """Return ``recording``, a context manager, inside a window of kind ``capture``."""
        forward = self._owners.forward(compile_id)
        return around(
            recording,
            Unit(
                forward.unit.name if forward else "cudagraph",
                "cudagraph",
                "capture",
                stated=forward.component if forward else None,
                named="other",
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
        given: Any = None,
    ) -> Any:
        if self._graphs.in_piece:  # the piece's own event reports it
            return wrapped(*args, **kwargs)
        window: AbstractContextManager[Any] = nullcontext()
        with contained(f"open the window of a {trigger}"):
            subject = subject_at(frames.caller(), self._names, given=given)
            unit = Unit(
                subject.name or name, trigger, kind, stated=subject.marked, named=subject.named
            )
            window = Window(unit)
        with window:
            return wrapped(*args, **kwargs)


def _package_name(args: Args, kwargs: Kwargs) -> str:
    """Return the model's name in its package, else the name of the file."""
    file, name = (*args, None, None)[:2]
    name = kwargs.get("model_name", name)
    if isinstance(name, str) and name != "model":
        return semconv.name(name)
    path = kwargs.get("file", file)
    return semconv.name(Path(path).stem) if isinstance(path, (str, Path)) else "aoti_package"


def _is_loadable(entry: Any) -> bool:
    return bool(getattr(entry, "guarded_codes", None)) and not getattr(entry, "bypassed", False)
