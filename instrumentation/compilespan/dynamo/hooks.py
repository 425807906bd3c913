"""What is patched in torch, and with which wrappers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import wrapt

from compilespan.dynamo import private
from compilespan.dynamo.calls import Calls
from compilespan.dynamo.frames import builds_code
from compilespan.dynamo.graphs import GraphWatch
from compilespan.dynamo.kernels import Kernels
from compilespan.dynamo.owners import OwnerMemory
from compilespan.dynamo.patches import Group, Patches
from compilespan.dynamo.stages import StageWatch
from compilespan.dynamo.windows import Windows
from compilespan.process.faults import contained

if TYPE_CHECKING:
    from compilespan.components.chain import ComponentNames

Wrapped = Callable[..., Any]
Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class DynamoHooks:
    """The wrappers around torch's choke points, installed and removed together.

    Each calls the wrapped function with unchanged arguments and lets its exceptions through.
    """

    def __init__(self, names: ComponentNames) -> None:
        self._patches = Patches()
        owners = OwnerMemory()
        self.graphs = GraphWatch()
        self._windows = Windows(names, owners, self.graphs)
        self._calls = Calls(names, owners, self.graphs)
        self._kernels = Kernels(self.graphs.built)
        self._stages = StageWatch([])

    @property
    def groups(self) -> tuple[Group, ...]:
        """What is patched; each group is applied completely or not at all."""
        return (
            # Every window that is opened must be closed, so both are patched or neither.
            {private.METRICS_ENTER: self._enter, private.METRICS_EXIT: self._exit},
            {private.CALLBACKS: self._announce},
            {private.AOT_AUTOGRAD: self._aot_graph},
            {private.AOT_AUTOGRAD_COMMON: self._aot_graph},
            {private.BACKEND_CALL: self._backend_graph},
            {private.DDP_BUCKET: self._bucket_graph},
            {private.SUBGRAPH: self._graph_break},
            {private.EXPLANATION: self._explanation},
            {private.COMPILED_AUTOGRAD: self._captured_backward},
            {private.CACHE_LOOKUP: self._instant},
            {private.AUTOGRAD_KEY: self._autograd_key},
            {private.STAGE_BEGIN: self._begin_stage, private.STAGE_END: self._end_stage},
            {private.STANDALONE: self._calls.standalone_compile},
            {private.LOAD_ARTIFACTS: self._calls.load_cache_artifacts},
            {private.POPULATE_CACHES: self._calls.load_cache_artifacts},
            {private.AOT_LOAD: self._calls.load_aot_compiled},
            {private.AOTI_PACKAGE: self._calls.load_aoti},
            {private.AOTI_LOAD: self._calls.load_aoti},
            {private.AOT_LIBRARY: self._calls.load_library},
            {private.PRECOMPILED: self._calls.install_precompiled},
            *self._kernels.groups,
        )

    def install(self) -> None:
        """Patch the modules that are imported now, and the others when they are imported."""
        self._patches.apply(*self.groups)
        self._kernels.begin()
        wrapt.register_post_import_hook(self._skip_own_code, private.SKIP_CODE.module)

    def uninstall(self) -> None:
        """Restore every patched object."""
        self._patches.restore()
        with contained("discard the open tunings"):
            self._stages.discard_all()
        with contained("restore Triton's listener"):
            self._kernels.end()

    def _skip_own_code(self, _: Any) -> None:
        """Keep Dynamo from compiling the one wrapper that runs inside compiled code."""
        with contained("exclude a wrapper from compilation"):
            if (skip_code := private.SKIP_CODE.found()) is not None:
                skip_code(DynamoHooks._captured_backward.__code__)

    def _enter(self, wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
        if not self._patches.is_active:
            return wrapped(*args, **kwargs)
        try:
            self._windows.enter(instance)
            return wrapped(*args, **kwargs)
        except BaseException:
            # An interrupt arrived: torch did not enter, so it will not leave.
            self._windows.discard_stale(instance)
            raise

    def _exit(self, wrapped: Wrapped, instance: Any, args: Args, kwargs: Kwargs) -> Any:
        try:
            return wrapped(*args, **kwargs)
        except BaseException:
            if self._windows.are_entered(instance):  # an interrupt arrived before torch's own exit
                wrapped(*args, **kwargs)
            raise
        finally:
            try:
                self._windows.leave(_error_of(args))
            except BaseException:  # an interrupt arrived in our code
                self._windows.leave(_error_of(args))
                raise

    def _announce(self, wrapped: Wrapped, _: Any, args: Args, kwargs: Kwargs) -> Any:
        announced = wrapped(*args, **kwargs)
        with contained("record an announcement of Dynamo"):
            self._windows.announced()
            trigger, compile_id = args if len(args) == 2 else kwargs.values()  # noqa: PLR2004
            if trigger.name == "CUDAGRAPH_RECORDING":
                return self._calls.cudagraph_recording(announced, str(compile_id))
        return announced

    def _aot_graph(self, wrapped: Wrapped, _: Any, args: Args, kwargs: Kwargs) -> Any:
        return self.graphs.around(wrapped, args, kwargs)

    def _backend_graph(self, wrapped: Wrapped, _: Any, args: Args, kwargs: Kwargs) -> Any:
        graph_module = args[0] if args else kwargs.get("gm")
        is_captured = False
        with contained("record a captured graph"):
            is_captured = self._windows.captured(graph_module)
        if is_captured:
            return wrapped(*args, **kwargs)
        return self.graphs.around_backend(wrapped, args, kwargs)

    def _instant(self, wrapped: Wrapped, _: Any, args: Args, kwargs: Kwargs) -> Any:
        with contained("record a cache lookup"):
            name = args[0] if args else kwargs.get("event_name")
            metadata = args[2] if len(args) > 2 else kwargs.get("metadata")  # noqa: PLR2004
            self.graphs.instant(str(name), metadata)
        return wrapped(*args, **kwargs)

    def _autograd_key(self, wrapped: Wrapped, _: Any, args: Args, kwargs: Kwargs) -> Any:
        with contained("note the components of a cache key"):
            pickler, details = args[:2]
            self.graphs.key_computed(pickler, details)
        return wrapped(*args, **kwargs)

    def _begin_stage(self, wrapped: Wrapped, logger: Any, args: Args, kwargs: Kwargs) -> Any:
        result = wrapped(*args, **kwargs)
        with contained("record the stage of a compile"):
            name = args[0] if args else kwargs.get("event_name")
            metadata = args[2] if len(args) > 2 else kwargs.get("metadata")  # noqa: PLR2004
            self._stages.begin(str(name), metadata, logger.get_stack)
            if name == "compile_file" and builds_code():
                self.graphs.built()
        return result

    def _end_stage(self, wrapped: Wrapped, _: Any, args: Args, kwargs: Kwargs) -> Any:
        with contained("record the end of a stage of a compile"):
            self._stages.end(str(args[0] if args else kwargs.get("event_name")))
        return wrapped(*args, **kwargs)

    def _bucket_graph(self, wrapped: Wrapped, _: Any, args: Args, kwargs: Kwargs) -> Any:
        return self.graphs.around_backend(wrapped, args, kwargs)

    def _captured_backward(self, wrapped: Wrapped, _: Any, args: Args, kwargs: Kwargs) -> Any:
        # Runs inside compiled code, so it calls no function of ours: Dynamo would compile it, too.
        try:
            info = args[4]._forward_cls._lazy_backward_info  # noqa: SLF001
            self._windows.backwards.append(info.saved_compile_context.compile_id)
        except Exception:
            pass
        return wrapped(*args, **kwargs)

    def _explanation(self, wrapped: Wrapped, _: Any, args: Args, kwargs: Kwargs) -> Any:
        with contained("record why Dynamo breaks a graph"):
            error = kwargs.get("exc") or next(
                (each for each in args if isinstance(each, BaseException)), None
            )
            if error is not None:
                self._windows.explained(error)
        return wrapped(*args, **kwargs)

    def _graph_break(self, wrapped: Wrapped, _: Any, args: Args, kwargs: Kwargs) -> Any:
        with contained("record a graph break"):
            reason = args[1] if len(args) > 1 else kwargs.get("reason")
            if getattr(reason, "graph_break", False):
                self._windows.broke(reason)
        return wrapped(*args, **kwargs)


def _error_of(args: Args) -> BaseException | None:
    return args[1] if len(args) > 1 else None
