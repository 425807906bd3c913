"""What instrumenting costs: per compile (paired), per call, and as the number of compiles grows.

Every compile is written to the journal of a state directory, as on a server.
"""

from __future__ import annotations

import functools
import gc
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch

from compilespan import TorchCompileInstrumentor
from compilespan.dynamo import graphs, stages, windows
from compilespan.journal.writer import open_journal

PAIRS = 200


@contextmanager
def instrumented(on: bool):
    if on:
        TorchCompileInstrumentor().instrument()
    try:
        yield
    finally:
        if on:
            TorchCompileInstrumentor().uninstrument()


def compile_once(backend: str, around=nullcontext) -> float:
    """Return the seconds of a first call inside ``around()``; with inductor from a warm cache."""
    torch._dynamo.reset()
    layer = torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    model = torch.compile(layer, backend=backend)
    x = torch.randn(2, 8, 32)
    gc.collect()  # the garbage of earlier compiles must not count for this one
    with torch.inference_mode():
        began = time.perf_counter()
        with around():
            model(x)
        return time.perf_counter() - began


def per_compile(backend: str) -> dict[str, object]:
    """Return the median difference of pairs of compiles, with and without us, in random order.

    The wrappers stay in place and only their work is switched on and off: patching and restoring a
    class makes the interpreter specialize its callers again, which costs more than our hooks. The
    garbage collector runs between compiles only.
    """
    hooks = Hooks(lambda function: lambda *a, **k: function(*a, **k) if hooks.on else None)
    TorchCompileInstrumentor().instrument()
    for _ in range(8):
        compile_once(backend)
    gc.collect()
    gc.freeze()
    without, differences = [], []
    for _ in range(PAIRS):
        times = {}
        for on in random.sample((True, False), 2):
            hooks.on = on
            gc.collect()
            gc.disable()
            times[on] = compile_once(backend)
            gc.enable()
        without.append(times[False])
        differences.append(times[True] - times[False])
    TorchCompileInstrumentor().uninstrument()
    hooks.restore()
    gc.unfreeze()
    base_s, cost_s = statistics.median(without), statistics.median(differences)
    low_s, high_s = _confidence(differences)
    return {
        "what": f"compile, {backend}, warm",
        "base_ms": base_s * 1e3,
        "cost_ms": cost_s * 1e3,
        "cost_95_ms": [low_s * 1e3, high_s * 1e3],
        "ratio": 1 + cost_s / base_s,
    }


def _confidence(values: list[float]) -> tuple[float, float]:
    """Return the 95 % confidence interval of the median, by its order statistics."""
    half = round(1.96 * math.sqrt(len(values)) / 2)
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle - half], ordered[middle + half]


def per_call() -> dict[str, object]:
    """Time calls of a compiled module, whose code must be the same with and without us."""
    model = torch.compile(torch.nn.Linear(8, 8), backend="eager")
    x = torch.randn(2, 8)

    def hundred_calls() -> float:
        began = time.perf_counter()
        for _ in range(100):
            model(x)
        return time.perf_counter() - began

    with torch.inference_mode():
        model(x)
        hundred_calls()
        code = torch._dynamo.eval_frame.innermost_fn(model.forward).__code__
        ratios, base = [], []
        for index in range(200):
            times = {}
            for on in (index % 2 == 0, index % 2 == 1):
                with instrumented(on):
                    for _ in range(5):
                        hundred_calls()  # patching makes the interpreter specialise anew
                    times[on] = hundred_calls()
                    assert torch._dynamo.eval_frame.innermost_fn(model.forward).__code__ is code
            ratios.append(times[True] / times[False])
            base.append(times[False])
    return {
        "what": "call of a compiled module",
        "base_us": statistics.median(base) * 1e4,
        "ratio": statistics.median(ratios),
    }


class Hooks:
    """Wraps each of our hooks in a function of the benchmark, until `restore`."""

    _WHERE = (
        (windows.Windows, ("are_entered", "discard_stale", "enter", "leave", "announced")),
        (windows.Windows, ("captured", "explained", "broke")),
        (graphs.GraphWatch, ("begin", "end", "instant")),
        (stages.StageWatch, ("begin", "end")),
    )

    def __init__(self, around) -> None:
        self.on = True
        self._originals = [
            (cls, name, getattr(cls, name)) for cls, names in self._WHERE for name in names
        ]
        for cls, name, original in self._originals:
            setattr(cls, name, functools.wraps(original)(around(original)))

    def restore(self) -> None:
        for cls, name, original in self._originals:
            setattr(cls, name, original)


class HookClock(Hooks):
    """Adds up the time inside our hooks, so that noise outside of them does not count."""

    def __init__(self) -> None:
        self.spent_s = 0.0
        super().__init__(self._timed)

    def _timed(self, function):
        def timed(*args, **kwargs):
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.spent_s += time.perf_counter() - began

        return timed


def inside() -> dict[str, object]:
    """Return the time in our hooks during a warm inductor compile."""
    clock = HookClock()
    TorchCompileInstrumentor().instrument()
    compile_once("inductor")
    clock.spent_s = 0.0
    times = [compile_once("inductor") for _ in range(60)]
    TorchCompileInstrumentor().uninstrument()
    clock.restore()
    base_s, cost_s = statistics.mean(times), clock.spent_s / len(times)
    return {
        "what": "inside our hooks, inductor, warm",
        "base_ms": base_s * 1e3,
        "cost_ms": cost_s * 1e3,
        "ratio": 1 + cost_s / base_s,
    }


def growth() -> list[dict[str, object]]:
    """Return time in our hooks, and memory with and without us, as the number of compiles grows.

    Two processes run side by side; the memory that torch itself keeps is in both.
    """
    with tempfile.TemporaryDirectory() as scratch:
        additional = {"BENCHMARK_INSTRUMENTED": "1", "COMPILESPAN_STATE_DIR": scratch}
        processes = {
            on: subprocess.Popen(
                [sys.executable, "-m", "benchmarks.cost"],
                env={**os.environ, **(additional if on else {})},
                stdout=subprocess.PIPE,
                text=True,
            )
            for on in (False, True)
        }
        rows = {
            on: json.loads(process.communicate()[0].splitlines()[-1])
            for on, process in processes.items()
        }
    return [
        {
            "compiles": ours["compiles"],
            "ms_in_our_hooks_per_compile": ours["ms_in_our_hooks"],
            "kib_per_compile": ours["kib"],
            "kib_per_compile_uninstrumented": theirs["kib"],
        }
        for ours, theirs in zip(rows[True], rows[False], strict=True)
    ]


def grow(clock: HookClock) -> list[dict[str, object]]:
    """Compile new code again and again; return time in our hooks and memory per compile."""
    # torch rewrites the whole file of its profiles at each compile, so that cost would grow.
    torch._dynamo.config.automatic_dynamic_local_pgo = False
    rows = []
    done = 0
    for goal in (10, 100, 1_000, 10_000):
        clock.spent_s = 0.0
        before = _resident()
        for _ in range(goal - done):
            namespace: dict[str, object] = {}
            exec("def add(x): return x + 1", namespace)
            torch.compile(namespace["add"], backend="eager")(torch.zeros(2))
        rows.append(
            {
                "compiles": goal,
                "ms_in_our_hooks": clock.spent_s / (goal - done) * 1e3,
                "kib": (_resident() - before) / (goal - done) / 1024,
            }
        )
        done = goal
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory() as scratch:
        open_journal(scratch)
        rows = [inside(), per_compile("inductor"), per_compile("aot_eager"), per_call()]
        assert list(Path(scratch).iterdir()), "nothing was written to the journal"
        return rows


if __name__ == "__main__":
    hook_clock = HookClock()
    if os.environ.get("BENCHMARK_INSTRUMENTED"):
        TorchCompileInstrumentor().instrument()
    print(json.dumps(grow(hook_clock)))
