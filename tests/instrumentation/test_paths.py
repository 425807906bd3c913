"""Ways to compile and to load that leave a record each."""

from __future__ import annotations

import re

import pytest
import torch

from compilespan import TorchCompileInstrumentor, WarmupTarget, get_ledger, warm
from support import since_torch

X = torch.ones(2, 4)


class LlamaBlock(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x).relu()


def triggers():
    return [(r.trigger, r.kind, r.outcome, r.name) for r in get_ledger().records()]


def test_dynamos_export_is_an_export(instrumented):
    torch._dynamo.export(LlamaBlock())(X)
    assert triggers()[-1] == ("export", "compile", "ok", "LlamaBlock")


def test_a_strict_export_is_an_export(instrumented):
    torch.export.export(LlamaBlock(), (X,), strict=True)
    assert {each[:3] for each in triggers()} == {("export", "compile", "ok")}
    assert get_ledger().records()[0].name == "LlamaBlock"


@since_torch("2.10", "compiled functions have no aot_compile")
def test_a_load_of_an_ahead_of_time_compiled_function_has_its_name(instrumented, tmp_path):
    def double(x):
        return x * 2

    compiled = torch.compile(double, fullgraph=True, backend="aot_eager").aot_compile(((X,), {}))
    compiled.save_compiled_function(str(tmp_path / "f.bin"))
    (record,) = get_ledger().records()
    assert len(record.compile_ids) == 1  # Dynamo's, as in its logs
    assert re.fullmatch(r"\d+/\d+", record.compile_ids[0])
    get_ledger().renew()
    with open(tmp_path / "f.bin", "rb") as file:  # noqa: PTH123
        loaded = torch.compiler.load_compiled_function(file)
    assert triggers() == [("aot_load", "load", "ok", "double")]
    (record,) = get_ledger().records()
    assert (record.file, record.line) == (__file__, double.__code__.co_firstlineno)
    assert instrumented.compiles[-1].name == "torch.compile double"
    assert [i.state for i in warm([WarmupTarget("f", lambda _: loaded(X), [{}])]).items] == ["warm"]


def test_a_package_that_cannot_be_loaded_is_a_failed_load(instrumented):
    with pytest.raises(Exception, match="zip archive"):
        torch._inductor.aoti_load_package("/nowhere/missing.pt2")
    (record,) = get_ledger().records()
    assert (record.trigger, record.kind, record.outcome) == ("aot_load", "load", "failed")
    assert record.name == "missing"
    assert get_ledger().totals().total.failed == 1


@pytest.mark.parametrize("backend", ["eager", "own", "aot_eager"])
def test_each_bucket_of_ddp_is_a_graph_of_one_record(instrumented, backend, monkeypatch):
    def own(graph, _):
        return graph.forward

    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        layers = [torch.nn.Linear(600, 600) for _ in range(3)]
        model = torch.nn.parallel.DistributedDataParallel(
            torch.nn.Sequential(*layers), bucket_cap_mb=1
        )
        compiled = torch.compile(model.module, backend=own if backend == "own" else backend)
        model.module = compiled
        model(torch.ones(2, 600))
    finally:
        torch.distributed.destroy_process_group()
    (record,) = [each for each in get_ledger().records() if each.graphs]
    assert record.graphs == 3
    (span,) = [s for s in instrumented.compiles if s.attributes["torch.compile.graph.count"]]
    assert span.attributes["torch.compile.backend"] == backend


def test_a_fault_of_ours_in_any_hook_breaks_no_compile(monkeypatch):
    """Rule 6: each hook of ours is broken in turn, and the program computes what it computes."""
    from compilespan.dynamo import graphs, windows

    def broken(*_, **__):
        raise RuntimeError("ours")

    model = torch.nn.Linear(4, 4)
    with torch.no_grad():
        expected = model(X)
    for cls, name in [
        (windows.Windows, "captured"),
        (windows.Windows, "announced"),
        (windows.Windows, "broke"),
        (windows.Windows, "_conclude"),
        (graphs.GraphWatch, "_end"),
        (graphs.GraphWatch, "instant"),
        (graphs, "Graph"),
    ]:
        torch._dynamo.reset()
        with monkeypatch.context() as patch, torch.no_grad():
            patch.setattr(cls, name, broken)
            TorchCompileInstrumentor().instrument()
            compiled = torch.compile(model, backend="aot_eager")
            assert torch.equal(compiled(X), expected), name
            assert torch.equal(compiled(torch.cat([X, X]))[:2], expected), name
            TorchCompileInstrumentor().uninstrument()
        assert get_ledger().active.now() == ()
