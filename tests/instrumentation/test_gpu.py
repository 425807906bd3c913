"""Cudagraphs that a real GPU records; without one `test_inductor.py` calls torch's choke point."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from compilespan import get_ledger, mark_component, monitor_torch_compile
from support import events

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="cudagraphs need a CUDA GPU; there is none here",
)


class VisionTower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.GELU())

    def forward(self, x):
        return self.layers(x).sin()


def model():
    return torch.compile(VisionTower().cuda(), mode="reduce-overhead")


def shape(batch=8):
    return torch.randn(batch, 64, device="cuda")


def kinds():
    return [(record.kind, record.trigger, record.name) for record in get_ledger().records()]


@pytest.fixture(autouse=True)
def _inference():
    with torch.inference_mode():
        yield


def test_a_recording_is_a_capture_of_its_model_and_in_no_sum_of_compiles(instrumented):
    compiled, x = model(), shape()
    for _ in range(4):
        compiled(x)
    (compiled_record, capture) = get_ledger().records()
    assert kinds() == [
        ("compile", "dynamo", "VisionTower"),
        ("capture", "cudagraph", "VisionTower"),
    ]
    assert compiled_record.is_encoder
    assert capture.is_encoder
    assert capture.compile_ids == compiled_record.compile_ids
    total = get_ledger().totals().total
    assert (total.compiles, total.captures, total.recompiles) == (1, 1, 0)
    assert total.compile_s == pytest.approx(compiled_record.duration_s)
    assert capture.duration_s > 0


def test_each_size_is_captured_and_a_mark_holds_for_it(instrumented):
    compiled = mark_component(model(), is_encoder=False)
    for batch in (8, 16, 8, 16, 8, 16):
        compiled(shape(batch))
    captures = [record for record in get_ledger().records() if record.kind == "capture"]
    assert len(captures) == 2
    assert {record.component for record in captures} == {"language_model"}


def test_a_recording_inside_a_block_is_an_event_of_it(instrumented):
    compiled, x = model(), shape()
    with monitor_torch_compile("load and capture"):
        for _ in range(4):
            compiled(x)
    (record,) = get_ledger().records()
    assert (record.kind, record.trigger) == ("compile", "explicit")
    assert len(events(instrumented.compiles[0], "torch.compile.cudagraph")) == 1


SERVING = """
from concurrent.futures import ThreadPoolExecutor
import torch
from compilespan import TorchCompileInstrumentor, WarmupTarget, get_ledger, warm

TorchCompileInstrumentor().instrument()
model = torch.compile(torch.nn.Linear(64, 64).cuda(), mode="reduce-overhead")
x = torch.randn(8, 64, device="cuda")

def call(_=None):
    with torch.inference_mode():
        return model(x)

with ThreadPoolExecutor(1) as serving:
    result = warm([WarmupTarget("vision", call, [{"batch": 8}], executor=serving)])
    assert [item.state for item in result.items] == ["warm"], result
    known = [record.kind for record in get_ledger().records()]
    assert known == ["compile", "capture"], known
    for _ in range(3):
        serving.submit(call).result()
    assert len(get_ledger().records()) == len(known)
print("warm")
"""


def test_a_warmup_in_the_thread_of_serving_leaves_nothing_to_capture(inductor_cache):
    """Cudagraph trees belong to the thread that imported them first, hence a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", SERVING], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "warm\n", done.stderr


def test_a_kernel_of_triton_inside_a_compile_is_that_compile_alone(instrumented):
    triton = pytest.importorskip("triton")
    tl = pytest.importorskip("triton.language")

    @triton.jit
    def double(source, target, size, block: tl.constexpr):
        offsets = tl.program_id(0) * block + tl.arange(0, block)
        inside = offsets < size
        tl.store(target + offsets, tl.load(source + offsets, mask=inside) * 2, mask=inside)

    def run(x):
        result = torch.empty_like(x)
        double[(triton.cdiv(x.numel(), 256),)](x, result, x.numel(), block=256)
        return result + 1

    x = torch.randn(1000, device="cuda")
    assert torch.allclose(torch.compile(run)(x), x * 2 + 1)
    assert [(record.kind, record.trigger) for record in get_ledger().records()] == [
        ("compile", "dynamo")
    ]
