"""What only inductor does: caches, lazy backwards, ahead-of-time compiles and their loads."""

from __future__ import annotations

import threading

import pytest
import torch

from compilespan import get_ledger, monitor_torch_compile
from compilespan.findings.finders import findings
from compilespan.findings.finding import Evidence
from support import events, since_torch

pytestmark = pytest.mark.timeout(300)

GRAPH = "torch.compile.graph"


def records():
    return get_ledger().records()


def kinds():
    return [(record.kind, record.trigger, record.outcome) for record in records()]


def results(span):
    return [event.get("torch.compile.cache.result") for event in events(span, GRAPH)]


def again():
    """Forget what is compiled in this process; the caches on disk stay."""
    torch._dynamo.reset()
    get_ledger().renew()


def compile_and_run(number, **options):
    """Compile a graph that no other test compiles."""
    torch.compile(lambda x: (x * number).sin(), **options)(torch.zeros(5))


def test_a_cold_compile_misses_and_a_warm_one_hits_with_the_same_key(instrumented):
    compile_and_run(1.01)
    again()
    compile_and_run(1.01)
    cold, warm = instrumented.compiles
    assert (results(cold), results(warm)) == (["miss"], ["hit"])
    keys = [events(span, GRAPH)[0]["torch.compile.cache.key"] for span in (cold, warm)]
    assert keys[0] == keys[1]
    assert records()[0].cache_result == "hit"
    counts = {
        attributes["torch.compile.cache.result"]: value
        for attributes, value in instrumented.points("torch.compile.graphs")
    }
    assert counts == {"miss": 1, "hit": 1}


def test_without_the_autograd_cache_the_fx_cache_tells(instrumented):
    with torch._functorch.config.patch(enable_autograd_cache=False):
        compile_and_run(1.02)
        again()
        compile_and_run(1.02)
    cold, warm = instrumented.compiles
    assert (results(cold), results(warm)) == (["miss"], ["hit"])
    assert events(warm, GRAPH)[0]["torch.compile.cache.key"]


def test_caches_that_are_off_are_bypassed(instrumented):
    with torch._inductor.config.patch(force_disable_caches=True):
        compile_and_run(1.03)
    (span,) = instrumented.compiles
    assert results(span) == ["bypass"]
    assert "torch.compile.cache.key" not in events(span, GRAPH)[0]
    assert (records()[0].cache_bypasses, records()[0].cache_misses) == (1, 0)


def test_a_graph_that_cannot_be_stored_says_why(instrumented):
    with torch._inductor.config.patch(post_grad_custom_pre_pass=lambda graph: None):
        compile_and_run(1.035)
    (span,) = instrumented.compiles
    assert results(span) == ["bypass"]
    (graph,) = events(span, GRAPH)
    assert "custom pass" in graph["torch.compile.cache.bypass.reason"]
    finding = next(each for each in findings(Evidence(records())) if each.code == "CS030")

    assert finding.evidence == graph["torch.compile.cache.bypass.reason"]


def test_graphs_of_different_results_make_a_mixed_record(instrumented):
    compile_and_run(1.04)
    again()
    with monitor_torch_compile("block"):
        compile_and_run(1.04)
        torch._dynamo.reset()
        compile_and_run(1.05)
    (record,) = records()
    assert (record.cache_result, record.cache_hits, record.cache_misses) == ("mixed", 1, 1)


def train(number):
    module = torch.compile(lambda x: (x * number).exp().sum())
    x = torch.ones(4, requires_grad=True)
    module(x).backward()


def test_training_cold_is_a_forward_and_a_lazy_backward(instrumented):
    train(1.06)
    assert kinds() == [("compile", "dynamo", "ok"), ("compile", "lazy_backward", "ok")]
    forward, backward = records()
    assert (forward.graphs, backward.graphs) == (1, 1)
    assert forward.name == backward.name
    assert forward.compile_ids == backward.compile_ids
    assert not backward.is_recompile
    spans = instrumented.compiles
    assert spans[1].attributes["torch.compile.backend"] == "inductor"
    assert forward.end_ns <= backward.start_ns


def test_training_warm_loads_both_in_the_forward(instrumented):
    train(1.07)
    again()
    train(1.07)
    assert kinds() == [("compile", "dynamo", "ok")]
    assert records()[0].cache_result == "hit"


@since_torch("2.10", "threads share one metrics context, in which torch may raise")
def test_two_lazy_backwards_at_once_are_two_records_and_wall_is_their_union(instrumented):
    losses = []
    for number in (1.08, 1.09):
        compiled = torch.compile(lambda x, number=number: (x * number).exp().sum())
        losses.append(compiled(torch.ones(4, requires_grad=True)))
    get_ledger().renew()
    threads = [threading.Thread(target=loss.backward) for loss in losses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kinds() == [("compile", "lazy_backward", "ok")] * 2
    first, second = sorted(records(), key=lambda record: record.start_ns)
    total = get_ledger().totals().total
    assert total.compile_s == pytest.approx(first.duration_s + second.duration_s)
    overlap_ns = max(0, min(first.end_ns, second.end_ns) - second.start_ns)
    assert total.wall_s == pytest.approx(total.compile_s - overlap_ns / 1e9)
    assert overlap_ns > 0, "the two did not overlap"


@since_torch("2.10", "compiled functions have no aot_compile")
def test_aot_compile_and_its_load_are_one_record_each(instrumented, tmp_path):
    def scale(x):
        return x * 1.11

    compiled = torch.compile(scale, fullgraph=True).aot_compile(((torch.ones(3),), {}))
    path = tmp_path / "scale.pt"
    compiled.save_compiled_function(path)
    with path.open("rb") as file:
        loaded = torch.compiler.load_compiled_function(file)
    assert loaded(torch.ones(3)).tolist() == pytest.approx([1.11] * 3)
    assert kinds() == [("compile", "aot_compile", "ok"), ("load", "aot_load", "ok")]
    assert records()[0].graphs == 1
    assert records()[0].name.endswith("scale")
    total = get_ledger().totals().total
    assert (total.compiles, total.loads) == (1, 1)
    assert total.load_s == records()[1].duration_s
    assert total.compile_s == records()[0].duration_s


def test_load_cache_artifacts_is_a_load(instrumented):
    compile_and_run(1.12)
    artifacts, _ = torch.compiler.save_cache_artifacts()
    again()
    torch.compiler.load_cache_artifacts(artifacts)
    assert kinds() == [("load", "cache_load", "ok")]


def a_graph(number):
    from torch.fx.experimental.proxy_tensor import make_fx

    return make_fx(lambda x: (x * number).cos())(torch.ones(6))


def test_a_standalone_compile_alone_is_a_record(instrumented):
    torch._inductor.standalone_compile(a_graph(1.13), [torch.ones(6)])
    assert kinds() == [("compile", "standalone", "ok")]
    assert records()[0].graphs == 1
    # From 2.14 on torch does not cache it, because its example inputs have no shape environment.
    is_cached = torch.torch_version.TorchVersion(torch.__version__) < "2.14"
    assert records()[0].cache_result == ("miss" if is_cached else "bypass")


def test_a_standalone_compile_in_a_backend_is_an_event_of_its_frame(instrumented):
    def backend(gm, inputs):
        return torch._inductor.standalone_compile(gm, inputs, dynamic_shapes="from_tracing_context")

    torch.compile(lambda x: (x * 1.14).cos(), backend=backend)(torch.ones(7))
    assert kinds() == [("compile", "dynamo", "ok")]
    assert records()[0].graphs == 1
    (span,) = instrumented.compiles
    assert events(span, "torch.compile.nested")[0]["torch.compile.trigger"] == "standalone"


def test_a_strict_export_is_a_record(instrumented):
    class VisionNet(torch.nn.Module):
        def forward(self, x):
            return x * 1.15

    torch.export.export(VisionNet(), (torch.ones(3),), strict=True)
    assert kinds() == [("compile", "export", "ok")]
    assert (records()[0].name, records()[0].is_encoder) == ("VisionNet", True)


def recording(compile_id):
    """torch's choke point of cudagraph recordings; there is no GPU here to record on."""
    from torch._dynamo.callback import CallbackTrigger, callback_handler

    return callback_handler.install_callbacks(CallbackTrigger.CUDAGRAPH_RECORDING, compile_id)


def test_a_cudagraph_recording_alone_is_a_capture(instrumented):
    torch.compile(lambda x: x * 1.16, backend="eager")(torch.ones(3))
    (compile_id,) = records()[0].compile_ids
    name = records()[0].name
    get_ledger().renew()
    with recording(compile_id):
        pass
    assert kinds() == [("capture", "cudagraph", "ok")]
    assert records()[0].name == name
    total = get_ledger().totals().total
    assert (total.captures, total.compiles, total.compile_s) == (1, 0, 0.0)


def test_a_cudagraph_recording_inside_a_compile_is_an_event(instrumented):
    with monitor_torch_compile("block", kind="compile"), recording("7/0"):
        pass
    assert kinds() == [("compile", "explicit", "ok")]
    assert len(events(instrumented.compiles[0], "torch.compile.cudagraph")) == 1


def test_a_recording_that_fails_is_failed_and_unchanged(instrumented):
    with pytest.raises(ValueError, match="mine"), recording("7/0"):
        raise ValueError("mine")
    assert kinds() == [("capture", "cudagraph", "failed")]
