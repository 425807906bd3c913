"""Compiles and loads in one function call that does not enter Dynamo's metrics context."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

from compilespan import semconv
from compilespan.components.chain import ComponentNames, Link
from compilespan.components.marks import attributes_of
from compilespan.dynamo import frames, naming
from compilespan.dynamo.subject import subject_at
from compilespan.dynamo.watch import compiled_code_watch
from compilespan.monitor.unit import Unit
from compilespan.monitor.window import Window, around
from compilespan.process.faults import contained

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from compilespan.dynamo.graphs import GraphWatch
    from compilespan.dynamo.owners import OwnerMemory
    from compilespan.monitor.monitor import Monitor
    from compilespan.semconv import Kind, Trigger

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class Calls:
    """Opens a window around a call; inside another window the call is an event of that one."""

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
        """``torch.compiler.load_cache_artifacts``, and ``populate_caches``, which it calls."""
        return self._around(wrapped, args, kwargs, "cache_load", "load", "cache_artifacts")

    def load_aot_compiled(
        self, wrapped: Callable[..., Any], _: Any, args: Args, kwargs: Kwargs
    ) -> Any:
        """``AOTCompiledFunction.deserialize``, which every load of an AOT artefact calls.

        The name is unknown until the artefact is loaded.
        """
        window = self._window("aot_load", "load", "aot_compiled_function")
        with window as monitor:
            loaded = wrapped(*args, **kwargs)
            if monitor is not None:
                with contained("name a loaded artefact"):
                    self._rename(monitor, loaded)
            return loaded

    def load_aoti(self, wrapped: Callable[..., Any], _: Any, args: Args, kwargs: Kwargs) -> Any:
        """``load_package`` and ``_load_aoti``: every load of an AOTInductor package."""
        name = _package_name(args, kwargs)
        return self._around(wrapped, args, kwargs, "aot_load", "load", name)

    def load_library(self, wrapped: Callable[..., Any], _: Any, args: Args, kwargs: Kwargs) -> Any:
        """``torch._export.aot_load``: a library whose calls cannot be seen."""
        name = _package_name(args, kwargs)
        loaded = self._around(wrapped, args, kwargs, "aot_load", "load", name)
        compiled_code_watch.unseen.append(name)
        return loaded

    def install_precompiled(
        self, wrapped: Callable[..., Any], package: Any, args: Args, kwargs: Kwargs
    ) -> Any:
        """``CompilePackage.install``: loads what ``caching_precompile`` stored."""
        compiled = attributes_of(package)
        if not any(_is_loadable(entry) for entry in (compiled.get("_codes") or {}).values()):
            return wrapped(*args, **kwargs)
        given = compiled.get("_innermost_fn")
        compiled_code_watch.unseen.append(naming.name_of(naming.given_object(given)))
        return self._around(wrapped, args, kwargs, "aot_load", "load", "precompiled", given)

    def cudagraph_recording(self, recording: Any, compile_id: str) -> Any:
        """Wrap ``recording``, a context manager, in a window of kind ``capture``."""
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
        with self._window(trigger, kind, name, given):
            return wrapped(*args, **kwargs)

    def _window(
        self, trigger: Trigger, kind: Kind, name: str, given: Any = None
    ) -> AbstractContextManager[Monitor | None]:
        if not self._graphs.in_piece:  # inside a piece, its event reports it
            with contained(f"open the window of a {trigger}"):
                subject = subject_at(frames.caller(), self._names, given=given)
                return Window(subject.unit(name, trigger, kind))
        return nullcontext()

    def _rename(self, monitor: Monitor, loaded: Any) -> None:
        code = getattr(getattr(loaded, "_artifacts", None), "original_code", None)
        if not isinstance(code, CodeType) or frames.is_torch(code):
            return
        qualified = getattr(code, "co_qualname", code.co_name).rpartition("<locals>.")[2]
        owner, _, method = qualified.rpartition(".")
        name = semconv.name(owner if method == "forward" and owner else qualified)
        monitor.rename(
            dataclasses.replace(
                monitor.unit,
                name=name,
                named=self._names.component([Link(name)]),
                file=semconv.text(code.co_filename),
                line=code.co_firstlineno,
            )
        )


def _package_name(args: Args, kwargs: Kwargs) -> str:
    """Return the model's name in its package, else the name of the file."""
    first, second = (*args, None, None)[:2]
    name = kwargs.get("model_name", second)
    if isinstance(name, str) and name not in ("model", "cpu", "cuda"):
        return semconv.name(name)
    path = first or kwargs.get("file") or kwargs.get("path") or kwargs.get("so_path")
    return semconv.name(Path(path).stem) if isinstance(path, (str, Path)) else "aoti_package"


def _is_loadable(entry: Any) -> bool:
    return bool(getattr(entry, "guarded_codes", None)) and not getattr(entry, "bypassed", False)
