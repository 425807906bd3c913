"""Maps torch's names for the phases of a compile to a few stages.

Torch times each of its phases with ``dynamo_timed``, which logs a begin and an end, properly nested
and in the working thread, whether or not tracing is enabled.
"""

from __future__ import annotations

import functools
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from compilespan import semconv
from compilespan.dynamo.kernels import Kernels
from compilespan.monitor.surroundings import current_adopter
from compilespan.monitor.unit import Unit
from compilespan.monitor.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from compilespan.semconv import Stage

# By the beginning of the name; a name that is not listed belongs to the stage around it.
_BEGINNINGS: dict[str, Stage] = {
    "dynamo": "trace",
    "entire_frame_compile": "trace",
    "compile_attempt_": "trace",
    "bytecode_": "trace",
    "build_guards": "trace",
    "fullgraph_capture": "trace",
    "compiled_autograd": "trace",
    "create_aot_dispatcher_function": "autograd",
    "aot_collect_metadata": "autograd",
    "aot_trace_joint_graph": "autograd",
    "invoke_subgraph_trace_joint_graph": "autograd",
    "min_cut_rematerialization_partition": "autograd",
    "entire_backward_compile": "autograd",
    "backend_compile": "lower",
    "inductor_import": "lower",
    "_recursive_": "lower",
    "compile_fx.": "lower",
    "inductor_compile": "lower",
    "fx_codegen_and_compile": "lower",
    "GraphLowering.": "lower",
    "code_gen": "lower",
    "Scheduler.": "lower",
    "compile_file": "kernels",
    "async_compile.": "kernels",
    "reload_kernel_in_parent": "kernels",
    "CachingAutotuner.slow_precompile_config": "kernels",
    "StaticAutotunerFuture.": "kernels",
    "aoti_precompile_header": "kernels",
    "aoti_compile_fatbin": "kernels",
    "CachingAutotuner.": "autotune",
    "benchmark_": "autotune",
    "collective_compute_do_bench": "autotune",
    "inductor_codecache_torch_key": "cache",
    "CacheBase.": "cache",
    "AOTAutogradCache.": "cache",
    "FxGraphCache.": "cache",
    "PyCodeCache.": "cache",
    "TritonBundler.": "cache",
    "GraphPickler.": "cache",
    "CompiledArtifact.": "cache",
    "precompile_": "cache",
    "pgo.": "cache",
}
_ENDINGS: dict[str, Stage] = {
    "_template_autotuning": "autotune",
    "_template_precompiling": "autotune",
}


@functools.lru_cache(maxsize=1024)
def stage_of(name: str) -> Stage | None:
    """Return the stage of torch's name; ``None`` if it belongs to the stage around it."""
    for ending, stage in _ENDINGS.items():
        if name.endswith(ending):
            return stage
    longest = max(filter(name.startswith, _BEGINNINGS), key=len, default=None)
    return _BEGINNINGS[longest] if longest is not None else None


class _Tuning(NamedTuple):
    """A tuning in progress.

    Attributes:
        name: Torch's name for it.
        handled: The ``id`` of the exception that was being handled when it began.
        window: Its window.
    """

    name: str
    handled: int
    window: Window


class StageWatch(threading.local):
    """Passes the begin and end of torch's phases to the surrounding compile.

    A tuning outside of all other phases, at a kernel's first launch, is a unit of its own.
    """

    def __init__(self, everyones: list[_Tuning]) -> None:
        """Initialize the state of one thread.

        Args:
            everyones: The tunings in progress in all threads, shared by them.
        """
        self._everyones = everyones
        self._tunings: list[_Tuning] = []

    def begin(self, name: str, metadata: Any, stack: Callable[[], Sequence[str]]) -> None:
        """Record that torch begins the phase ``name``.

        Args:
            name: Torch's name of the phase.
            metadata: Torch's metadata of the phase.
            stack: Returns the names of the phases that are open in this thread.
        """
        stage = stage_of(name)
        if self._tunings:
            self._discard_stale(stack())
        adopter = current_adopter()
        is_outermost = adopter is None or adopter.stages.is_outside
        if is_outermost and stage == "autotune" and Kernels.is_recording:
            self._begin_tuning(name, metadata or {})
            adopter = current_adopter()
        if adopter is not None:
            adopter.stages.enter(name, stage)

    def end(self, name: str) -> None:
        """Record that the phase ``name`` ended."""
        adopter = current_adopter()
        is_known = adopter is not None and adopter.stages.leave(name)
        if any(tuning.name == name for tuning in self._tunings):
            self._end_tuning(name)
        elif self._everyones and not is_known:
            self._end_of_another(name)

    def _discard_stale(self, stack: Sequence[str]) -> None:
        """Discard tunings whose end was missed: in another thread, or while nothing was patched."""
        while self._tunings:
            tuning = self._tunings[-1]
            if tuning.window.monitor.is_open and tuning.name in stack[:-1]:
                break
            tuning.window.discard()
            self._forget(self._tunings.pop())

    def _begin_tuning(self, name: str, metadata: Mapping[str, Any]) -> None:
        kernel = semconv.name(metadata.get("kernel_name") or name)
        window = Window(Unit(kernel, "autotune", kind="kernel"))
        tuning = _Tuning(name, id(sys.exc_info()[1]), window)
        self._tunings.append(tuning)
        self._everyones.append(tuning)
        window.__enter__()

    def _end_tuning(self, name: str) -> None:
        while self._tunings:
            tuning = self._tunings.pop()
            error = sys.exc_info()[1]
            # An exception that was already being handled does not belong to the tuning.
            tuning.window.close(error=error if id(error) != tuning.handled else None)
            self._forget(tuning)
            if tuning.name == name:
                break

    def _end_of_another(self, name: str) -> None:
        """End a tuning that another thread began, e.g. in a generator that is closed here."""
        for tuning in list(self._everyones):
            if tuning.name == name:
                tuning.window.close()
                self._forget(tuning)
                break

    def discard_all(self) -> None:
        """Discard the tunings of all threads, since their ends will not be seen."""
        for tuning in list(self._everyones):
            tuning.window.discard()
            self._forget(tuning)

    def _forget(self, tuning: _Tuning) -> None:
        with suppress(ValueError):
            self._everyones.remove(tuning)
