"""Compiles of real torch through the hooks."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from torch._dynamo.backends.debugging import aot_eager

import compilespan
from compilespan import TorchCompileInstrumentor, get_ledger, monitor_torch_compile
from compilespan.components.chain import ComponentNames
from compilespan.dynamo.hooks import DynamoHooks
from support import LACKING, events, snapshot

GRAPH = "torch.compile.graph"
STAGE = "torch.compile.stage"


class VisionTower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x).relu()


class Block(torch.nn.Module):
    def forward(self, x):
        return x * 2


def records():
    return get_ledger().records()


def only_record():
    (record,) = records()
    return record


def test_the_first_call_of_a_compiled_module_is_one_whole_span(instrumented):
    module = torch.compile(VisionTower(), backend="aot_eager")
    module(torch.zeros(2, 4))
    module(torch.zeros(2, 4))
    (span,) = instrumented.spans
    code = VisionTower.forward.__code__
    stages = ["trace", "lower", "autograd", "lower", "trace"]
    assert snapshot(span) == {
        "name": "torch.compile VisionTower",
        "kind": "INTERNAL",
        "status": "UNSET",
        "attributes": {
            "code.file.path": code.co_filename,
            "code.function.name": f"{__name__}.VisionTower.forward",
            "code.line.number": code.co_firstlineno,
            "is_encoder": True,
            "torch.compile.backend": "aot_eager",
            "torch.compile.component": "encoder",
            "torch.compile.graph.count": 1,
            "torch.compile.graph_break.count": 0,
            "torch.compile.ids": span.attributes["torch.compile.ids"],
            "torch.compile.is_recompile": False,
            "torch.compile.kind": "compile",
            "torch.compile.name": "VisionTower",
            "torch.compile.outcome": "ok",
            "torch.compile.phase": "startup",
            "torch.compile.trigger": "dynamo",
        },
        "events": [
            (
                GRAPH,
                {
                    "torch.compile.graph.index": 0,
                    "torch.compile.graph.op_count": 2,
                    "torch.compile.graph.node_count": 6,
                },
            ),
            # Added when the span ends, at their own times.
            *((STAGE, {STAGE: stage}) for stage in stages),
        ],
    }
    assert len(span.attributes["torch.compile.ids"]) == 1


@pytest.mark.parametrize("how", ["function", "method", "module", "module.compile()", "regional"])
def test_whatever_is_compiled_is_one_record(instrumented, how):
    module = Block()
    compiled = {
        "function": lambda: torch.compile(lambda x: x * 2, backend="eager"),
        "method": lambda: torch.compile(module.forward, backend="eager"),
        "module": lambda: torch.compile(module, backend="eager"),
        "module.compile()": lambda: module.compile(backend="eager") or module,
        "regional": lambda: (
            module.compile(backend="eager") or torch.nn.Sequential(module, torch.nn.ReLU())
        ),
    }[how]()
    compiled(torch.zeros(3))
    record = only_record()
    assert (record.kind, record.trigger, record.outcome, record.graphs) == (
        "compile",
        "dynamo",
        "ok",
        1,
    )
    if how != "function":
        assert record.name == "Block"


def test_nothing_of_ours_runs_when_nothing_compiles(instrumented):
    """Rule 7."""
    # By its folder, not by a name: the project itself may lie in one called compilespan, or tests.
    package = f"{Path(compilespan.__file__).parent}{os.sep}"
    module = torch.compile(Block(), backend="eager")
    module(torch.zeros(3))
    ours = []

    def profile(frame, event, _):
        if frame.f_code.co_filename.startswith(package):
            ours.append(frame.f_code.co_name)

    sys.setprofile(profile)
    try:
        module(torch.zeros(3))
    finally:
        sys.setprofile(None)
    assert ours == []


def test_a_new_shape_is_a_recompile_with_its_reason(instrumented):
    module = torch.compile(Block(), backend="eager")
    module(torch.zeros(3))
    module(torch.zeros(4))
    first, second = instrumented.spans
    assert (
        first.attributes["torch.compile.is_recompile"],
        second.attributes["torch.compile.is_recompile"],
    ) == (False, True)
    (event,) = events(second, "torch.compile.recompile")
    assert event["torch.compile.recompile.reason_class"] == "size"
    assert "expected 3, actual 4" in event["torch.compile.recompile.reason"]
    assert records()[1].recompile_reason == event["torch.compile.recompile.reason"]
    assert instrumented.points("torch.compile.recompiles") == [
        (
            {
                "is_encoder": False,
                "torch.compile.component": "other",
                "torch.compile.name": "Block",
                "torch.compile.phase": "startup",
                "torch.compile.recompile.reason_class": "size",
            },
            1,
        )
    ]


@pytest.mark.parametrize(
    ("change", "reason_class"),
    [("dtype", "dtype"), ("grad_mode", "grad_mode"), ("num_threads", "num_threads")],
)
def test_what_changed_is_told_in_words(instrumented, change, reason_class):
    module = torch.compile(Block(), backend="eager")
    module(torch.zeros(3))
    threads = torch.get_num_threads()
    if change == "dtype":
        module(torch.zeros(3, dtype=torch.float64))
    elif change == "grad_mode":
        with torch.no_grad():
            module(torch.zeros(3))
    else:
        torch.set_num_threads(threads + 1)
        try:
            module(torch.zeros(3))
        finally:
            torch.set_num_threads(threads)
    (event,) = events(instrumented.spans[1], "torch.compile.recompile")
    assert event["torch.compile.recompile.reason_class"] == reason_class


def test_three_instances_of_one_class_are_no_recompiles(instrumented):
    class Scale(torch.nn.Module):
        def __init__(self, by):
            super().__init__()
            self.by = by

        def forward(self, x):
            return x * self.by

    modules = [Scale(by) for by in (2, 3, 4)]
    for module in modules:
        torch.compile(module, backend="eager")(torch.zeros(3))
    # Dynamo itself calls the second and third recompiles of the same code.
    assert [record.compile_ids[0].partition("/")[2] for record in records()] == ["0", "1", "2"]
    assert [record.is_recompile for record in records()] == [False] * 3


def test_a_failing_backend_is_failed_and_its_exception_unchanged(instrumented):
    def bad(_gm, _inputs):
        raise RuntimeError("no such instruction")

    from torch._dynamo.exc import BackendCompilerFailed

    with pytest.raises(BackendCompilerFailed, match="no such instruction"):
        torch.compile(Block(), backend=bad)(torch.zeros(3))
    record = only_record()
    assert (record.outcome, record.error_type) == (
        "failed",
        "torch._dynamo.exc.BackendCompilerFailed",
    )
    (span,) = instrumented.spans
    assert span.status.status_code.name == "ERROR"
    total = get_ledger().totals().total
    assert total.failed_s == record.duration_s > 0
    assert total.compile_s == 0.0
    ((attributes, _),) = instrumented.points("torch.compile.duration")
    assert attributes["error.type"] == record.error_type


def test_a_suppressed_backend_failure_is_failed_too(instrumented):
    def bad(_gm, _inputs):
        raise RuntimeError("no")

    with torch._dynamo.config.patch(suppress_errors=True):
        assert torch.compile(Block(), backend=bad)(torch.ones(3)).tolist() == [2.0] * 3
    assert only_record().outcome == "failed"


def test_fullgraph_violated_is_failed(instrumented):
    def breaks(x):
        print("break")  # noqa: T201
        return x + 1

    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(breaks, backend="eager", fullgraph=True)(torch.zeros(3))
    assert only_record().outcome == "failed"


def test_the_users_own_exception_while_traced_is_skipped_and_unchanged(instrumented):
    class Mine(Exception):
        pass

    def raises(x):
        raise Mine("mine")

    with pytest.raises(Mine, match="mine"):
        torch.compile(raises, backend="eager")(torch.zeros(3))
    record = only_record()
    assert (record.outcome, record.error_type) == ("skipped", None)
    assert instrumented.spans[0].status.status_code.name == "UNSET"
    assert get_ledger().totals().total.skipped == 1


def test_a_construct_that_dynamo_gives_up_on_is_skipped_without_an_error(instrumented):
    def loops(x):
        for _ in range(2):
            x = x + 1
            print("break")  # noqa: T201
        return x

    assert torch.compile(loops, backend="eager")(torch.zeros(1)).tolist() == [2.0]
    record = records()[0]
    assert (record.outcome, record.error_type) == ("skipped", None)
    assert instrumented.spans[0].status.status_code.name == "UNSET"
    assert get_ledger().totals().total.failed == 0


def test_a_frame_without_operations_is_skipped(instrumented):
    torch.compile(lambda x: x, backend="eager")(torch.zeros(3))
    assert [(r.outcome, r.graphs) for r in records()] == [("skipped", 0)]


def test_a_graph_break_is_an_event_with_the_users_line(instrumented):
    def breaks(x):
        y = x + 1
        print("break")  # noqa: T201
        return y * 2

    torch.compile(breaks, backend="eager")(torch.zeros(3))
    first, second = records()
    assert (first.outcome, second.outcome) == ("ok", "ok")
    (event,) = events(instrumented.spans[0], "torch.compile.graph_break")
    assert event["code.file.path"] == __file__
    assert event["code.line.number"] == breaks.__code__.co_firstlineno + 2
    assert "print" in event["torch.compile.graph_break.reason"]
    assert first.graph_breaks[0].line == event["code.line.number"]
    assert len(first.graph_breaks[0].reason) <= 1024


def test_over_the_recompile_limit_is_skipped_once(instrumented):
    module = torch.compile(Block(), backend="eager", dynamic=False)
    with torch._dynamo.config.patch(recompile_limit=2):
        for size in (2, 3, 4, 5):
            module(torch.zeros(size))
    assert [record.outcome for record in records()] == ["ok", "ok", "skipped"]
    assert events(instrumented.spans[2], "torch.compile.recompile_limit")
    assert instrumented.points("torch.compile.recompile_limit_hits") == [
        ({"is_encoder": False, "torch.compile.component": "other"}, 1)
    ]


def test_a_backend_of_many_pieces_is_one_record_with_an_event_each(instrumented):
    from functorch.compile import make_boxed_func
    from torch._functorch.aot_autograd import aot_module_simplified

    def pieces(gm, inputs):
        for _ in range(5):
            compiled = aot_module_simplified(
                gm, inputs, fw_compiler=lambda graph, _: make_boxed_func(graph.forward)
            )
        return compiled

    with torch.no_grad():
        torch.compile(Block(), backend=pieces)(torch.zeros(3))
    assert only_record().graphs == 5
    told = events(instrumented.spans[0], GRAPH)
    assert [event["torch.compile.graph.index"] for event in told] == list(range(5))


def test_a_compile_inside_a_backend_is_an_event_of_the_outer_one(instrumented):
    """Rule 1."""
    inner = torch.compile(lambda x: x - 1, backend="eager")

    def nesting(gm, _inputs):
        with torch._dynamo.utils.disable_cache_limit():
            inner(torch.ones(7))
        return gm.forward

    started = time.perf_counter()
    torch.compile(Block(), backend=nesting)(torch.zeros(3))
    wall_s = time.perf_counter() - started
    record = only_record()
    assert record.name == "Block"
    assert len(events(instrumented.spans[0], "torch.compile.nested")) == 1
    assert record.graphs == 2
    assert get_ledger().totals().total.compile_s <= wall_s


def test_an_explicit_block_adopts_both_frames_inside(instrumented):
    first = torch.compile(lambda x: x + 1, backend="eager")
    second = torch.compile(lambda x: x + 2, backend="eager")
    with monitor_torch_compile("block", is_encoder=True):
        first(torch.zeros(3))
        second(torch.zeros(3))
    record = only_record()
    assert (record.kind, record.trigger, record.graphs) == ("compile", "explicit", 2)
    assert len(record.compile_ids) == 2
    assert len(events(instrumented.spans[0], GRAPH)) == 2


def test_what_dynamo_gave_back_makes_an_explicit_block_skipped(instrumented):
    with monitor_torch_compile("block"):
        torch.compile(lambda x: x, backend="eager")(torch.zeros(3))
    assert (only_record().kind, only_record().outcome) == ("compile", "skipped")


def test_a_failure_that_leaves_an_explicit_block_is_its_own(instrumented):
    def bad(_gm, _inputs):
        raise RuntimeError("no")

    from torch._dynamo.exc import BackendCompilerFailed

    with pytest.raises(BackendCompilerFailed), monitor_torch_compile("block"):
        torch.compile(Block(), backend=bad)(torch.zeros(3))
    record = only_record()
    assert (record.name, record.kind, record.outcome) == ("block", "compile", "failed")


def test_two_threads_are_two_records_within_the_wall(instrumented):
    def work():
        torch.compile(VisionTower(), backend="aot_eager")(torch.zeros(2, 4))

    started = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall_s = time.perf_counter() - started
    assert len({record.thread_id for record in records()}) == 2
    total = get_ledger().totals().total
    assert total.compiles == 2
    assert total.wall_s <= wall_s
    assert total.wall_s <= total.compile_s + 1e-9


def test_reset_leaves_the_hooks(instrumented):
    torch.compile(Block(), backend="eager")(torch.zeros(3))
    torch._dynamo.reset()
    torch.compile(Block(), backend="eager")(torch.zeros(3))
    assert [record.outcome for record in records()] == ["ok", "ok"]


@pytest.mark.parametrize("stance", ["eager_on_recompile", "force_eager"])
def test_a_stance_that_compiles_nothing_makes_no_record(instrumented, stance):
    module = torch.compile(Block(), backend="eager")
    module(torch.zeros(3))
    with torch.compiler.set_stance(stance):
        module(torch.zeros(5))
    assert len(records()) == 1


def test_a_module_is_collectable_while_instrumented(instrumented):
    """Rule 6: no reference to a module, frame or tensor is kept."""
    import gc
    import weakref

    module, tensor = Block(), torch.zeros(3)
    torch.compile(module, backend="eager")(tensor)
    seen = weakref.ref(module), weakref.ref(tensor)
    torch._dynamo.reset()
    del module, tensor
    gc.collect()
    assert [each() for each in seen] == [None, None]


def test_a_local_of_a_calling_frame_is_let_go_of(instrumented):
    """Rule 6: frames are read while a compile begins, and nothing of them is kept alive."""
    import weakref

    class Outer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.block = torch.compile(Block(), backend="eager")

        def forward(self, x):
            large = torch.zeros(1000)
            seen = weakref.ref(large)
            self.block(x)
            del large
            return seen() is None

    assert Outer()(torch.zeros(3))
    assert len(records()) == 1


PATCHED = [
    private
    for group in DynamoHooks(ComponentNames()).groups
    for private in group
    if private.name not in LACKING
]


def parent_and_name(private):
    parent = importlib.import_module(private.module)
    *parts, attribute = private.path.split(".")
    for part in parts:
        parent = getattr(parent, part)
    return parent, attribute


def test_uninstrument_leaves_every_patched_attribute_identical():
    targets = [parent_and_name(each) for each in PATCHED]
    before = [vars(parent)[attribute] for parent, attribute in targets]
    for _ in range(2):  # instrument, uninstrument, instrument
        TorchCompileInstrumentor().instrument()
        during = [vars(parent)[attribute] for parent, attribute in targets]
        assert all(a is not b for a, b in zip(before, during, strict=True))
        TorchCompileInstrumentor().uninstrument()
        after = [vars(parent)[attribute] for parent, attribute in targets]
        assert all(a is b for a, b in zip(before, after, strict=True))
    torch.compile(Block(), backend="eager")(torch.zeros(3))
    assert records() == ()


@pytest.mark.parametrize("what", ["locals", "metrics", "code", "everything"])
def test_private_parts_that_changed_cost_what_they_told(instrumented, monkeypatch, what):
    """Another torch may name its locals differently, or keep its metrics elsewhere."""
    from compilespan.dynamo import frames, naming, windows

    if what in ("locals", "everything"):
        monkeypatch.setattr(frames, "locals_of", lambda _frame: {})
    if what in ("metrics", "everything"):
        monkeypatch.setattr(windows, "_metric", broken)
    if what in ("code", "everything"):
        monkeypatch.setattr(naming, "source_of", broken)
    module = torch.compile(Block(), backend="eager")
    for size in (3, 4):
        assert module(torch.ones(size)).tolist() == [2.0] * size
    if what == "metrics":
        assert [record.graphs for record in records()] == [1, 1]


def broken(*_):
    raise AttributeError("not in this version")


def entering(gm, inputs):
    with torch._dynamo.utils.get_metrics_context():
        return aot_eager(gm, inputs)


def inner(gm, inputs):
    """Called like a function of torch that begins a compile."""
    with torch._dynamo.utils.get_metrics_context():
        return gm.forward


def entering_twice(gm, inputs):
    context = torch._dynamo.utils.get_metrics_context()
    with context, context:
        return aot_eager(gm, inputs)


def failing_inside(gm, inputs):
    context = torch._dynamo.utils.get_metrics_context()
    try:
        with context:
            1 / 0  # noqa: B018
    except ZeroDivisionError:
        return aot_eager(gm, inputs)


@pytest.mark.parametrize("backend", [entering, inner, entering_twice, failing_inside])
def test_a_backend_that_enters_the_metrics_context_again_begins_nothing(instrumented, backend):
    tower = VisionTower()
    torch.compile(tower, backend=backend)(torch.zeros(2, 4))
    (record,) = records()
    assert (record.name, record.outcome, record.graphs) == ("VisionTower", "ok", 1)
    (span,) = instrumented.named("torch.compile")
    assert {event.name for event in span.events} == {GRAPH, "torch.compile.stage"}
    torch.compile(VisionTower(), backend="eager")(torch.zeros(2, 4))  # all was left
    assert [each.graphs for each in records()] == [1, 1]


def test_a_compile_within_a_context_that_was_entered_again_is_still_seen(instrumented):
    def compiling(gm, inputs):
        with torch._dynamo.utils.get_metrics_context():
            torch.compile(Block(), backend="eager")(torch.zeros(3))
            return aot_eager(gm, inputs)

    torch.compile(VisionTower(), backend=compiling)(torch.zeros(2, 4))
    (record,) = records()
    assert (record.name, record.graphs) == ("VisionTower", 2)
    (span,) = instrumented.named("torch.compile")
    assert [event.name for event in span.events].count("torch.compile.nested") == 1
