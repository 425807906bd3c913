"""Factories for ``compilespan serve`` in tests: real torch, backends that take milliseconds."""

from __future__ import annotations

import os
import time
from pathlib import Path

from compilespan import WarmupTarget


def net(backend, **options):
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(4, 4)

        def forward(self, x):
            return self.linear(x).relu()

    return torch.compile(Net(), backend=backend, **options)


def run_on(module):
    import torch

    def run(shape):
        with torch.no_grad():
            module(torch.zeros(shape["batch"], 4))

    return run


def failing():
    """The second shape raises, as long as the file FAIL exists."""

    def backend(gm, inputs):
        if (
            any(tuple(each.shape)[:1] == (2,) for each in inputs)
            and Path(os.environ["FAIL"]).exists()
        ):
            raise RuntimeError("no kernel for two")
        return gm.forward

    shapes = [{"batch": size} for size in (1, 2, 3)]
    return [WarmupTarget("net", run_on(net(backend, dynamic=False)), shapes)]


def many_graphs():
    """One compile of 2,000 graphs, each handed to AOTAutograd."""
    from functorch.compile import make_boxed_func
    from torch._functorch.aot_autograd import aot_module_simplified

    def backend(gm, inputs):
        for _ in range(2000):
            compiled = aot_module_simplified(
                gm, inputs, fw_compiler=lambda graph, _: make_boxed_func(graph.forward)
            )
        return compiled

    return [WarmupTarget("many", run_on(net(backend)), [{"batch": 2}])]


def slow():
    """A compile that takes a minute."""

    def backend(gm, _inputs):
        time.sleep(60)
        return gm.forward

    return [WarmupTarget("slow", run_on(net(backend)), [{"batch": 2}])]


def slow_to_import():
    """A factory that takes a while, as one that imports torch and transformers does."""
    time.sleep(3)
    return [WarmupTarget("net", run_on(net("eager")), [{"batch": 2}])]


def held():
    """Each compile hands over a graph, then lasts as long as the file HOLD exists."""

    def backend(gm, _inputs):
        while Path(os.environ["HOLD"]).exists():
            time.sleep(0.02)
        return gm.forward

    module = net(backend, dynamic=False)
    timeout_s = float(os.environ.get("TIMEOUT_S", "0")) or None
    return [WarmupTarget("held", run_on(module), [{"batch": 2}, {"batch": 3}], timeout_s=timeout_s)]


def loads_slowly():
    """Half a second of import, one of load."""
    time.sleep(0.5)
    module = net("eager")
    return [WarmupTarget("net", run_on(module), [{"batch": 2}], load=lambda: time.sleep(1))]


def raises():
    raise ValueError("the weights are not there")


def nothing():
    return []


def none():
    return None


def twice():
    module = net("eager")
    return [WarmupTarget("net", run_on(module), [{"batch": 2}]) for _ in range(2)]


def exits():
    """The second shape calls ``sys.exit``."""
    module = net("eager", dynamic=False)
    run = run_on(module)

    def run_or_exit(shape):
        if shape["batch"] == 2:
            raise SystemExit("the target wants to end the process")
        run(shape)

    return [WarmupTarget("exits", run_or_exit, [{"batch": 1}, {"batch": 2}, {"batch": 3}])]


def eager():
    """Twelve static shapes: more than Dynamo compiles."""
    shapes = [{"batch": size} for size in range(1, 13)]
    return [WarmupTarget("net", run_on(net("eager", dynamic=False)), shapes)]


def clock_jumps():
    """The wall clock goes back an hour in the middle of the compile, and does not come back."""
    real = time.time_ns, time.time

    def backend(gm, _inputs):
        time.sleep(0.5)
        time.time_ns = lambda: real[0]() - 3600 * 10**9
        time.time = lambda: real[1]() - 3600
        time.sleep(0.5)
        return gm.forward

    return [WarmupTarget("net", run_on(net(backend)), [{"batch": 2}])]


def net2():
    return [WarmupTarget("net", run_on(net("eager")), [{"batch": 2}])]


def net3():
    shapes = [{"batch": size} for size in (1, 2, 3)]
    return [WarmupTarget("net", run_on(net("eager", dynamic=False)), shapes)]


def pages():
    """An encoder and a language model; the second shape of the latter waits for HOLD, or fails."""
    import torch

    class VisionTower(torch.nn.Module):
        def forward(self, x):
            y = x.sin()
            torch._dynamo.graph_break()
            return y.cos()

    class LanguageModel(torch.nn.Module):
        def forward(self, x):
            return x.tanh()

    def backend(gm, inputs):
        size = inputs[0].shape[0] if inputs else 0
        while size == 3 and Path(os.environ["HOLD"]).exists():
            time.sleep(0.02)
        if size == 3 and Path(os.environ.get("FAIL", "/nonexistent")).exists():
            raise RuntimeError("no kernel for three")
        return gm.forward

    tower = torch.compile(VisionTower(), backend=backend, dynamic=False)
    model = torch.compile(LanguageModel(), backend=backend, dynamic=False)
    return [
        WarmupTarget("vision", run_on(tower), [{"batch": 2}]),
        WarmupTarget("language", run_on(model), [{"batch": 2}, {"batch": 3}]),
    ]


def serves():
    """After it is ready a request brings a shape that the warmup missed."""
    import threading

    from opentelemetry import trace
    from opentelemetry.trace import SpanKind

    from compilespan import get_ledger

    module = run_on(net("eager", dynamic=False))

    def request():
        while get_ledger().readiness.after_s is None:
            time.sleep(0.05)
        tracer = trace.get_tracer("a web framework's instrumentation")
        with tracer.start_as_current_span("POST /generate", kind=SpanKind.SERVER):
            module({"batch": 5})

    threading.Thread(target=request, daemon=True).start()
    return [WarmupTarget("net", module, [{"batch": 2}])]


def builds_kernels():
    """After it is ready kernels are built outside any compile."""
    import threading

    from compilespan import get_ledger, monitor_torch_compile

    def request():
        while get_ledger().readiness.after_s is None:
            time.sleep(0.05)
        for name in ("fill", "gather"):
            with monitor_torch_compile(name, kind="kernel"):
                time.sleep(0.1)

    threading.Thread(target=request, daemon=True).start()
    return [WarmupTarget("net", run_on(net("eager")), [{"batch": 2}])]


def inductor():
    return [WarmupTarget("net", run_on(net("inductor")), [{"batch": 2}])]


def waits():
    """Each call, compiled or not, lasts as long as the file HOLD exists."""
    run = run_on(net("eager"))

    def run_and_wait(shape):
        while Path(os.environ["HOLD"]).exists():
            time.sleep(0.02)
        run(shape)

    return [WarmupTarget("waits", run_and_wait, [{"batch": 2}])]
