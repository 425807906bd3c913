"""Kernels that Triton builds: the real compiler, for a named target, since there is no GPU here."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from compilespan import (
    TorchCompileInstrumentor,
    WarmupTarget,
    get_ledger,
    monitor_torch_compile,
    warm,
)
from compilespan.dynamo.kernels import Kernels

triton = pytest.importorskip("triton", reason="builds kernels with Triton")
from triton import language as tl  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource, CompilationError  # noqa: E402
from triton.runtime.autotuner import Autotuner, Config  # noqa: E402

TARGET = GPUTarget("cuda", 90, 32)


@triton.jit
def add(x, y, n, block: tl.constexpr):
    at = tl.program_id(0) * block + tl.arange(0, block)
    tl.store(y + at, tl.load(x + at, at < n) + 1, at < n)


@triton.jit
def wrong(x, block: tl.constexpr):
    tl.store(x + tl.arange(0, block), no_such_name)  # noqa: F821


def source(block, kernel=add):
    signature = {"x": "*fp32", "y": "*fp32", "n": "i32"} if kernel is add else {"x": "*fp32"}
    return ASTSource(kernel, {**signature, "block": "constexpr"}, {"block": block})


def build(block, kernel=add):
    return triton.compile(source(block, kernel), target=TARGET)


@pytest.fixture(autouse=True)
def instrumented(monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # else 3.9 warns
    monkeypatch.setattr(triton.knobs.cache, "dir", str(tmp_path))
    before = triton.knobs.compilation.listener
    instrumentor = TorchCompileInstrumentor()
    instrumentor.instrument(skip_dep_check=True)
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
    assert triton.knobs.compilation.listener is before


def records():
    return get_ledger().records()


def test_a_kernel_that_is_built_is_a_record_with_its_seconds():
    began = time.perf_counter()
    build(32)
    took_s = time.perf_counter() - began
    (record,) = records()
    assert (record.name, record.kind, record.trigger) == ("add", "kernel", "kernel")
    assert (record.outcome, record.cache_result, record.graphs) == ("ok", "miss", 0)
    assert record.file == __file__
    assert 0.9 * took_s < record.duration_ns / 1e9 <= took_s
    row = get_ledger().totals().total
    assert (row.kernels, row.compiles, row.compile_s) == (1, 0, 0.0)
    assert row.kernel_s == row.wall_s == record.duration_ns / 1e9


def test_what_comes_from_tritons_cache_says_so():
    build(64)
    build(64)
    assert [record.cache_result for record in records()] == ["miss", "hit"]


@pytest.mark.parametrize(
    "compile_it",
    [
        lambda source: triton.compile(source, target=TARGET),
        lambda source: triton.compiler.compile(source, target=TARGET),
        lambda source: triton.compile(src=source, target=TARGET),
    ],
)
def test_it_is_told_once_by_whichever_name_it_is_built(compile_it):
    compile_it(source(128))
    assert [record.name for record in records()] == ["add"]


IMPORTED_LATER = """
from compilespan import TorchCompileInstrumentor, get_ledger
TorchCompileInstrumentor().instrument(skip_dep_check=True)
import triton
from test_kernels import build
build(32)
(record,) = get_ledger().records()
print(record.name, record.cache_result, [event.name for event in record.events])
"""


def test_triton_that_is_imported_later_is_wrapped_once(tmp_path):
    """One of its names is then bound to what was wrapped by the other."""
    env = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_DEFAULT_FP_FUSION": "1"}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED_LATER],
        env={**env, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "add miss []\n", done.stderr


def test_inside_a_compile_it_is_a_part_of_that():
    with monitor_torch_compile("model", kind="compile"):
        build(32)
    (record,) = records()
    assert (record.name, record.kind, record.cache_result) == ("model", "compile", None)
    nested = [event.attributes for event in record.events if event.name == "torch.compile.nested"]
    assert nested == [{"torch.compile.name": "add", "torch.compile.trigger": "kernel"}]
    assert get_ledger().totals().total.kernels == 0


def test_a_thousand_kernels_of_a_compile_do_not_take_the_place_of_its_graphs():
    unit = Kernels(lambda: True)
    with monitor_torch_compile("model", kind="compile") as monitor:
        for _ in range(1000):
            unit._build(lambda _: None, None, (source(32),), {})
        monitor.add_event("torch.compile.graph")
    (record,) = records()
    assert len(record.events) == 33
    assert record.graphs == 1


def test_a_block_in_which_only_kernels_were_built_is_one():
    with monitor_torch_compile("kernels"):
        build(32)
    (record,) = records()
    assert record.kind == "kernel"
    assert get_ledger().totals().total.compile_s == 0


def test_its_component_and_phase_are_those_of_its_surroundings():
    def run(_):
        build(32)

    warm([WarmupTarget("tower", run, [{"n": 1}], is_encoder=True)])
    assert {(record.is_encoder, record.phase) for record in records()} == {(True, "warmup")}


def test_it_is_in_progress_while_it_is_built():
    seen = set()
    over = threading.Event()

    def watch():
        while not over.is_set():
            seen.update(begun.name for begun in get_ledger().active.now())

    thread = threading.Thread(target=watch)
    thread.start()
    build(256)
    over.set()
    thread.join()
    assert seen == {"add"}
    assert get_ledger().active.now() == ()


def test_a_kernel_that_cannot_be_built_failed_and_tritons_error_is_its_own():
    with pytest.raises(CompilationError, match="no_such_name"):
        build(32, wrong)
    (record,) = records()
    assert (record.name, record.outcome) == ("wrong", "failed")
    assert "CompilationError" in record.error_type
    assert get_ledger().totals().total.failed == 1


def test_an_item_whose_verify_pass_builds_a_kernel_is_not_warm():
    """A new block size at each call: each of them has a kernel of its own."""
    sizes = iter(2**n for n in range(4, 12))

    def run(_):
        build(next(sizes))

    (item,) = warm([WarmupTarget("model", run, [{"n": 1}])]).items
    assert item.state != "warm"


def test_the_listener_of_the_program_goes_on_being_called(instrumented):
    said = []
    triton.knobs.compilation.listener = lambda **told: said.append(told["cache_hit"])
    own = triton.knobs.compilation.listener
    try:
        build(32)
        build(32)
        assert said == [False, True]
        instrumented.uninstrument()
        assert triton.knobs.compilation.listener is own
    finally:
        triton.knobs.compilation.listener = None


def test_what_the_listener_of_the_program_raises_is_its_own():
    triton.knobs.compilation.listener = lambda **_: 1 / 0
    try:
        with pytest.raises(ZeroDivisionError):
            build(32)
    finally:
        triton.knobs.compilation.listener = None


def test_after_uninstrument_nothing_is_recorded(instrumented):
    kept = triton.compile  # as a kernel keeps it that was launched before
    build(32)
    instrumented.uninstrument()
    kept(source(64), target=TARGET)
    build(128)
    assert len(records()) == 1
    assert type(triton.compile).__name__ == "function"


def test_a_fault_of_ours_costs_no_kernel(monkeypatch):
    monkeypatch.setattr("compilespan.dynamo.kernels._unit", lambda *_: 1 / 0)
    assert build(32).asm
    assert records() == ()


# Autotuning


def tuner(tried, *, fails_at=None):
    """A real autotuner whose kernel is built for the target instead of launched."""

    class Built:
        def __init__(self):
            self.fn, self.arg_names = add.fn, add.arg_names
            self.__name__ = "add"

        def run(self, *_, block, **__):
            tried.append(block)
            if fails_at == block:
                raise ValueError("no memory")
            return build(block)

    configs = [Config({"block": 2**n}) for n in range(5, 8)]

    def bench(call, quantiles):
        call()
        return [1.0, 1.0, 1.0]

    return Autotuner(Built(), add.arg_names, configs, ["n"], None, None, do_bench=bench)


def test_a_kernel_that_is_tuned_is_one_record_with_all_that_was_built_for_it():
    tried = []
    tuned = tuner(tried)
    tuned.run(None, None, 100)
    assert tried == [32, 64, 128, tuned.best_config.kwargs["block"]]
    record, *launched = records()
    assert (record.name, record.kind, record.trigger) == ("add", "kernel", "autotune")
    assert len([event for event in record.events if event.name == "torch.compile.nested"]) == 3
    assert [each.cache_result for each in launched] == ["hit"]  # the launch after it
    tuned.run(None, None, 100)  # the same key
    assert [each.trigger for each in records()] == ["autotune", "kernel", "kernel"]


def test_tuning_that_an_exception_ends_leaves_nothing_open():
    tried = []
    tuned = tuner(tried, fails_at=64)
    with pytest.raises(ValueError, match="no memory"):
        tuned.run(None, None, 100)
    assert get_ledger().active.now() == ()
    (record,) = records()
    assert (record.trigger, record.outcome, record.error_type) == (
        "autotune",
        "failed",
        "ValueError",
    )
    build(16)
    assert len(records()) == 2  # nothing adopts it


def test_what_inductor_tunes_at_the_first_launch_is_a_record():
    """Its launcher needs a GPU: only the wrapper is called here."""
    kernels = Kernels(lambda: True)
    launcher = SimpleNamespace(fn=add)
    assert kernels._tune(lambda: "tuned", launcher, (), {}) == "tuned"
    (record,) = records()
    assert (record.name, record.kind, record.trigger) == ("add", "kernel", "autotune")
