"""Warm means warm."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from compilespan import WarmupTarget, get_ledger, mark_ready, warm
from compilespan.warmup.plan import plan
from compilespan.warmup.warmup import Warmup
from serving import Net, batches, target
from support import since_torch


def states(result):
    return [item.state for item in result.items]


@since_torch("2.10", "one batch more recompiles")
def test_four_batches_that_recompile_in_the_first_pass_end_warm_without_warnings(instrumented):
    module = torch.compile(Net(), backend="eager")
    result = warm([target(module, batches(128, 256, 512, 1))])
    assert states(result) == ["warm"] * 4
    assert [item.compiles for item in result.items] == [1, 1, 0, 1]
    assert result.warnings == ()
    assert result.is_warm


def test_of_twelve_static_shapes_the_last_four_run_eager_and_it_is_not_warm(instrumented):
    module = torch.compile(Net(), backend="eager", dynamic=False)
    result = warm([target(module, batches(*range(1, 13)))])
    assert states(result) == ["warm"] * 8 + ["eager"] * 4
    assert not result.is_warm
    assert len(result.warnings) == 4
    assert "recompile limit" in result.items[-1].error


def test_a_second_warmup_knows_that_they_run_eager(instrumented):
    """Nothing compiles any more, and no exception says so."""
    module = torch.compile(Net(), backend="eager", dynamic=False)
    warm([target(module, batches(*range(1, 13)))])
    result = warm([target(module, batches(8, 12))])
    assert states(result) == ["warm", "eager"]
    assert "recompile limit" in result.items[1].error


def test_a_shape_whose_frame_has_no_graph_is_eager(instrumented):
    result = warm([target(torch.compile(lambda x: x, backend="eager"), batches(1))])
    assert states(result) == ["eager"]
    assert "no graph" in result.items[0].error
    assert "no operations" in result.items[0].error.lower() or "No ops" in result.items[0].error


def test_a_shape_that_compiles_at_each_call_is_unstable_with_the_reason(instrumented):
    module = torch.compile(Net(), backend="eager", dynamic=False)
    sizes = iter(range(1, 100))
    result = warm([WarmupTarget("net", lambda _: module(torch.zeros(next(sizes), 4)), [{}])])
    assert states(result) == ["unstable"]
    assert result.items[0].calls == 3
    assert "size mismatch" in result.items[0].error


def test_a_shape_that_compiles_again_in_the_verify_pass_is_unstable(instrumented):
    """What the first pass left behind does not hold when the others have run."""
    module = torch.compile(Net(), backend="eager", dynamic=False)
    modes = {"calls": 0}

    def run(shape):
        modes["calls"] += 1
        with torch.set_grad_enabled(modes["calls"] <= 4):
            module(torch.zeros(shape["batch"], 4))

    result = warm([WarmupTarget("net", run, batches(1, 2))])
    assert states(result) == ["unstable", "unstable"]
    assert "verify pass" in result.items[0].error
    assert "grad_mode" in result.items[0].error


def test_a_failing_shape_keeps_what_the_others_achieved(instrumented):
    def backend(gm, inputs):
        if any(getattr(each, "shape", ())[:1] == (2,) for each in inputs):
            raise RuntimeError("no kernel for two")
        return gm.forward

    module = torch.compile(Net(), backend=backend, dynamic=False)
    result = warm([target(module, batches(1, 2, 3))])
    assert states(result) == ["warm", "failed", "warm"]
    assert result.items[1].error.startswith("torch._dynamo.exc.BackendCompilerFailed")
    total = result.totals.total
    assert total.failed == 1
    assert total.failed_s > 0
    assert total.compile_s == pytest.approx(sum(item.compile_s for item in result.items))
    spans = {
        s.attributes["compilespan.shape"]: s for s in instrumented.named("compilespan.warmup.item")
    }
    failed = spans['{"batch": 2}']
    assert failed.status.status_code.name == "ERROR"
    assert failed.attributes["compilespan.item.state"] == "failed"
    assert failed.attributes["error.type"] == "torch._dynamo.exc.BackendCompilerFailed"


def test_on_error_stop_leaves_the_rest_pending(instrumented):
    def run(shape):
        raise ValueError("no")

    result = warm([WarmupTarget("net", run, batches(1, 2))], on_error="stop")
    assert states(result) == ["failed", "pending"]


def test_an_item_span_is_the_parent_of_its_compiles(instrumented):
    module = torch.compile(Net(), backend="eager")
    warm([target(module, batches(1))])
    (warmup,) = instrumented.named("compilespan.warmup")
    (item,) = instrumented.named("compilespan.warmup.item")
    (compile_span,) = instrumented.compiles
    assert item.parent.span_id == warmup.context.span_id
    assert compile_span.parent.span_id == item.context.span_id
    assert dict(item.attributes) == {
        "compilespan.target": "net",
        "compilespan.shape": '{"batch": 1}',
        "compilespan.item.state": "warm",
    }
    assert compile_span.attributes["torch.compile.phase"] == "warmup"


def test_the_targets_word_outweighs_the_names(instrumented):
    module = torch.compile(Net(), backend="eager")
    warm([target(module, batches(1), is_encoder=True)])
    assert get_ledger().records()[0].is_encoder is True


def test_the_executor_is_where_it_runs(instrumented):
    module = torch.compile(Net(), backend="eager")
    threads = set()

    def run(shape):
        threads.add(threading.current_thread().name)
        module(torch.zeros(shape["batch"], 4))

    with ThreadPoolExecutor(1, thread_name_prefix="serving") as executor:
        result = warm([WarmupTarget("net", run, batches(1, 2), executor=executor)])
    assert result.is_warm
    assert threads == {"serving_0"}
    assert result.totals.total.compiles == 2


def test_an_eager_shape_is_seen_in_an_executor_too(instrumented):
    module = torch.compile(Net(), backend="eager", dynamic=False)
    with ThreadPoolExecutor(1) as executor:
        result = warm([target(module, batches(*range(1, 11)), executor=executor)])
    assert states(result)[-1] == "eager"


def test_an_async_run_is_awaited(instrumented):
    module = torch.compile(Net(), backend="eager")

    async def run(shape):
        await asyncio.sleep(0)
        module(torch.zeros(shape["batch"], 4))

    result = warm([WarmupTarget("net", run, batches(1))])
    assert (states(result), result.items[0].compiles) == (["warm"], 1)


def test_weights_come_before_the_first_run(instrumented):
    order = []
    warm(
        [
            WarmupTarget(
                "net", lambda _: order.append("run"), [{}], load=lambda: order.append("load")
            )
        ]
    )
    assert order[0] == "load"


def test_a_model_that_is_not_compiled_at_all_is_told(instrumented):
    result = warm([target(Net(), batches(1))])
    assert states(result) == ["eager"]
    assert not result.is_warm
    assert "no compiled code ran" in result.warnings[0]


def test_progress_is_told_item_by_item(instrumented):
    told = []
    module = torch.compile(Net(), backend="eager")
    warm(
        [target(module, batches(1, 2))],
        on_item=lambda item: told.append((item.shape["batch"], item.state)),
    )
    assert told == [
        (1, "running"),
        (1, "unverified"),
        (2, "running"),
        (2, "unverified"),
        (1, "warm"),
        (2, "warm"),
    ]


def test_after_ready_compiles_are_serving_and_warmups_are_still_warmup(instrumented):
    mark_ready()
    module = torch.compile(Net(), backend="eager")
    warm([target(module, batches(1))])
    module(torch.zeros(3, 4))
    assert [record.phase for record in get_ledger().records()] == ["warmup", "serving"]


def test_a_warmup_that_is_over_cannot_be_abandoned(instrumented):
    """Its time runs out at the very moment when it comes through."""
    module = torch.compile(Net(), backend="eager")
    warmup = Warmup(plan([target(module, batches(2))]))
    warmup.run()
    assert warmup.abandon("timed_out", "too late") is False
    (span,) = instrumented.named("compilespan.warmup")
    assert span.attributes["compilespan.job.state"] == "succeeded"
    (item,) = instrumented.named("compilespan.warmup.item")
    assert item.attributes["compilespan.item.state"] == "warm"
