"""The register of all private names of torch, Triton, vLLM and SGLang that are used.

If the installed version lacks a name, only what it provides is lost, and one log line says so.
`get_ledger().missing()` returns the names that were looked up and not found.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from typing import Any

from compilespan.ledger.ledger import get_ledger

_logger = logging.getLogger("compilespan")


@dataclasses.dataclass(frozen=True, slots=True)
class Private:
    """A private name in another package.

    Attributes:
        module: The module that has it.
        path: The attribute in that module, dotted for a member of a class.
        lost: What is unavailable without it.
        is_optional: Whether older versions do the same without it.
    """

    module: str
    path: str
    lost: str
    is_optional: bool = False

    @property
    def name(self) -> str:
        """The fully qualified name."""
        return f"{self.module}.{self.path}"

    def found(self) -> Any:
        """Return the object; ``None`` if its module is not imported or does not have it."""
        found: Any = sys.modules.get(self.module)
        if found is None:
            return None
        for attribute in self.path.split("."):
            found = getattr(found, attribute, None)
        if found is None:
            self.note_missing()
        return found

    def note_missing(self, why: object = "no such name") -> None:
        """Log once that the name is missing, and note it in the ledger."""
        ledger = get_ledger()
        if not self.is_optional and self.name not in ledger.missing():
            ledger.note_missing(self.name, self.lost)
            _logger.warning(
                "compilespan: %s cannot be used in this version (%s); unavailable: %s",
                self.name,
                why,
                self.lost,
            )


_FRAMES = "compiles of frames and lazy backwards"
METRICS_ENTER = Private("torch._dynamo.metrics_context", "MetricsContext.__enter__", _FRAMES)
METRICS_EXIT = Private("torch._dynamo.metrics_context", "MetricsContext.__exit__", _FRAMES)
CALLBACKS = Private(
    "torch._dynamo.callback",
    "CompilationCallbackHandler.install_callbacks",
    "reasons of recompiles, and cudagraph recordings",
)
AOT_AUTOGRAD = Private(
    "torch._functorch.aot_autograd", "aot_module_simplified", "graphs of AOTAutograd"
)
AOT_AUTOGRAD_COMMON = Private(
    "torch._dynamo.backends.common", "aot_module_simplified", "graphs of AOTAutograd"
)
BACKEND_CALL = Private(
    "torch._dynamo.output_graph",
    "OutputGraph.call_user_compiler",
    "graphs of backends without AOTAutograd",
)
DDP_BUCKET = Private(
    "torch._dynamo.backends.distributed",
    "SubmodCompiler.compile_submod",
    "graphs of each bucket of DDP",
)
SUBGRAPH = Private("torch._dynamo.output_graph", "OutputGraph.compile_subgraph", "graph breaks")
EXPLANATION = Private(
    "torch._dynamo.symbolic_convert",
    "InstructionTranslatorBase.log_graph_break",
    "hints and links of graph breaks at jumps",
)
CACHE_LOOKUP = Private(
    "torch._dynamo.utils", "ChromiumEventLogger.log_instant_event", "cache results and keys"
)
AUTOGRAD_KEY = Private(
    "torch._functorch._aot_autograd.autograd_cache",
    "_get_debug_lines_for_cache_key",
    "which component of AOTAutograd's cache key differs after a miss",
    is_optional=True,  # before 2.13 the instant of the lookup has the components
)
_STAGES = "stages of compiles, and kernels that inductor tunes at their first launch"
STAGE_BEGIN = Private("torch._dynamo.utils", "ChromiumEventLogger.log_event_start", _STAGES)
STAGE_END = Private("torch._dynamo.utils", "ChromiumEventLogger.log_event_end", _STAGES)
_SHARED = "the compile cache of a fleet"
CACHE_DIRECTORY = Private("torch._inductor.runtime.cache_dir_utils", "cache_dir", _SHARED)
HEADER_DIRECTORY = Private("torch._inductor.codecache", "_HEADER_DIR", _SHARED)
INSTRUCTION_SET = Private("torch._inductor.cpu_vec_isa", "pick_vec_isa", _SHARED)
STANDALONE = Private(
    "torch._inductor.standalone_compile", "standalone_compile", "standalone compiles"
)
LOAD_ARTIFACTS = Private("torch.compiler", "load_cache_artifacts", "loads of cache artefacts")
POPULATE_CACHES = Private(
    "torch.compiler._cache", "CacheArtifactManager.populate_caches", "loads of cache artefacts"
)
AOT_LOAD = Private(
    "torch._dynamo.aot_compile", "AOTCompiledFunction.deserialize", "loads of AOT artefacts"
)
AOT_CALL = Private(
    "torch._dynamo.aot_compile",
    "AOTCompiledFunction.__call__",
    "calls of AOT artefacts in a verify pass",
)
AOTI_LOAD = Private(
    "torch.export.pt2_archive._package", "_load_aoti", "loads of AOTInductor packages"
)
AOTI_PACKAGE = Private(
    "torch._inductor.package", "load_package", "failed loads of AOTInductor packages"
)
AOT_LIBRARY = Private("torch._export", "aot_load", "loads of AOTInductor libraries")
AOTI_CALL = Private(
    "torch.export.pt2_archive._package",
    "AOTICompiledModel.__call__",
    "calls of AOTInductor packages in a verify pass",
)
STANDALONE_CALL = Private(
    "torch._inductor.standalone_compile",
    "CompiledArtifact.__call__",
    "calls of standalone artefacts in a verify pass",
)
PRECOMPILED = Private(
    "torch._dynamo.package", "CompilePackage.install", "loads with caching_precompile"
)
COMPILED_AUTOGRAD = Private(
    "torch._dynamo.compiled_autograd",
    "AutogradCompilerInstance.proxy_call_aot_backward",
    "names of backwards that compiled autograd captures",
)
GUARD_HOOK = Private(
    "torch._C._dynamo.eval_frame",
    "set_guard_complete_hook",
    "whether compiled code runs in a verify pass",
)
SKIP_CODE = Private(
    "torch._dynamo.eval_frame", "skip_code", "calls of artefacts inside compiled code"
)
COMPILE_CONTEXT = Private(
    "torch._guards", "CompileContext.current_compile_id", "compile ids of ahead-of-time compiles"
)
CALL_IMPL = Private("torch.nn.modules.module", "Module._call_impl", "enclosing modules")
_GIVEN_BACK = "skips after an exception (recorded as failed)"
UNSUPPORTED = Private("torch._dynamo.exc", "Unsupported", _GIVEN_BACK)
USER_ERROR = Private("torch._dynamo.exc", "UserError", _GIVEN_BACK)
FRAME = Private(
    "torch._dynamo.convert_frame", "_compile", "names, code and backends of compiled frames"
)

_KERNELS = "kernels that Triton builds outside a compile"
TRITON_COMPILE = Private("triton.compiler", "compile", _KERNELS)
TRITON_COMPILE_BOUND = Private("triton", "compile", _KERNELS)
TRITON_SUBMIT = Private(
    "triton.runtime._async_compile", "AsyncCompileMode.submit", "surroundings of kernels of a pool"
)
TRITON_KNOBS = Private("triton.knobs", "compilation", "whether a kernel came from Triton's cache")
_TUNED = "kernels that are tuned at their first launch"
TRITON_PRUNE = Private("triton.runtime.autotuner", "Autotuner.prune_configs", _TUNED)
TRITON_BENCH = Private("triton.runtime.autotuner", "Autotuner._bench", _TUNED)

VLLM_MONITOR = Private(
    "vllm.compilation.monitor", "monitor_torch_compile", "vLLM's own compile monitors"
)
VLLM_MONITOR_BOUND = Private(
    "vllm.compilation.decorators", "monitor_torch_compile", "vLLM's own compile monitors"
)
VLLM_PIECE = Private(
    "vllm.compilation.backends", "CompilerManager.compile", "graphs of vLLM's backend"
)
VLLM_COUNTER = Private(
    "vllm.compilation.counter", "compilation_counter", "cache results of vLLM's backend"
)
VLLM_LOAD = Private(
    "vllm.compilation.decorators",
    "_try_load_aot_compiled_fn",
    "vLLM's loads of artefacts before their first event",
)
VLLM_STORES = Private(
    "vllm.envs", "use_aot_compile", "cache misses without vLLM's backend (recorded as bypass)"
)
_CAPTURES = "cudagraphs that vLLM captures"
VLLM_CAPTURE = Private("vllm.v1.worker.gpu_model_runner", "GPUModelRunner.capture_model", _CAPTURES)
VLLM_CAPTURE_V2 = Private(
    "vllm.v1.worker.gpu.model_runner", "GPUModelRunner.capture_model", _CAPTURES
)
VLLM_CAPTURE_ENCODER = Private(
    "vllm.v1.worker.mm_encoder_model_runner", "MMEncoderModelRunner.capture_model", _CAPTURES
)
_WEIGHTS = "time to load weights"
VLLM_WEIGHTS = Private("vllm.v1.worker.gpu_worker", "Worker.load_model", _WEIGHTS)
_READY = "when a vLLM worker is ready"
VLLM_GPU_READY = Private("vllm.v1.worker.gpu_worker", "Worker.compile_or_warm_up_model", _READY)
VLLM_CPU_READY = Private("vllm.v1.worker.cpu_worker", "CPUWorker.compile_or_warm_up_model", _READY)
_STARTED = "when vLLM's engine is ready"
VLLM_CLIENT = Private("vllm.v1.engine.core_client", "EngineCoreClient.make_client", _STARTED)
VLLM_ASYNC_CLIENT = Private(
    "vllm.v1.engine.core_client", "EngineCoreClient.make_async_mp_client", _STARTED
)
_DEATH = "engine deaths that end a server"
VLLM_ENGINES = Private(
    "vllm.v1.engine.utils", "CoreEngineProcManager.monitor_engine_liveness", _DEATH
)
VLLM_ACTORS = Private(
    "vllm.v1.engine.utils", "CoreEngineActorManager.monitor_engine_liveness", _DEATH
)
VLLM_LAUNCH = Private("vllm.entrypoints.cli.serve", "launch_core_engines", _STARTED)
VLLM_ENDPOINTS = Private(
    "vllm.plugins", "load_endpoint_plugins", "endpoints on vLLM's server without --middleware"
)
_RAY = "environment variables of Ray's actors"
VLLM_RAY_ENGINES = Private("vllm.v1.engine.utils", "get_env_vars_to_copy", _RAY)
VLLM_RAY_WORKERS = Private("vllm.v1.executor.ray_executor", "get_env_vars_to_copy", _RAY)
SGLANG_PIECE = Private(
    "sglang.srt.compilation.backend", "CompilerManager.compile", "graphs of SGLang's backend"
)
SGLANG_LOAD = Private("sglang.srt.model_executor.model_runner", "ModelRunner.load_model", _WEIGHTS)
SGLANG_READY = Private(
    "sglang.srt.managers.scheduler",
    "Scheduler.init_startup_timing_summary",
    "when an SGLang scheduler is ready, and how it started",
)
_LAUNCHED = "when SGLang's engine is ready"
SGLANG_LAUNCH = Private("sglang.srt.entrypoints.engine", "Engine._launch_subprocesses", _LAUNCHED)
SGLANG_WAIT = Private("sglang.srt.entrypoints.engine", "_wait_for_scheduler_ready", _LAUNCHED)

REGISTER = tuple(value for value in list(vars().values()) if isinstance(value, Private))
"""All registered names."""

FRAME_LOCALS = (
    *("code", "locals", "globals", "compiler_fn", "one_graph", "compile_id"),
    *("convert_frame_box", "guarded_code", "export"),
)
"""Locals of `FRAME` that are read."""
