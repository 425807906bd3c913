"""What surrounds a compile ends with who opened it, in every task and thread that still has it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading

import pytest
import torch
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.trace import SpanKind

from compilespan import WarmupTarget, get_ledger, mark_ready, monitor_torch_compile, warm
from compilespan.monitor.surroundings import Surroundings, current, resolve
from compilespan.telemetry.propagation import has_ended


class VisionTower(torch.nn.Module):
    def forward(self, x):
        return x * 2


class LlamaModel(torch.nn.Module):
    def forward(self, x):
        return x * 3


def compile_now(size, module=None):
    model = torch.compile(module or LlamaModel(), backend="eager", dynamic=False)
    return model(torch.zeros(size))


def records():
    return {record.name: record for record in get_ledger().records()}


def test_the_innermost_that_states_something_counts():
    with Surroundings(component="encoder", phase="warmup"):
        with Surroundings(component="language_model"):
            place = resolve()
            assert (place.component, place.phase) == ("language_model", "warmup")
        assert resolve().component == "encoder"
    assert (resolve().component, resolve().phase) == (None, "startup")


def test_what_is_closed_surrounds_nothing_in_a_context_that_still_has_it():
    with Surroundings(component="encoder"):
        kept = contextvars.copy_context()
        assert kept.run(resolve).component == "encoder"
    assert kept.run(resolve).component is None
    assert kept.run(current) is None


def test_what_lies_further_out_goes_on_when_an_inner_one_is_closed():
    with Surroundings(phase="warmup"):
        with Surroundings(component="encoder"):
            kept = contextvars.copy_context()
        place = kept.run(resolve)
        assert (place.component, place.phase) == (None, "warmup")


def test_chains_do_not_grow_with_what_was_closed():
    depths = []
    for _ in range(50):
        with Surroundings() as innermost:
            depths.append(len(innermost.outwards()))
    assert set(depths) == {1}


def test_a_closed_one_keeps_nobody_alive():
    surroundings = Surroundings(listener=object(), component="encoder")
    with surroundings:
        pass
    assert surroundings.listener is None
    assert surroundings.adopter is None


class Batching:
    """The usual loop of a server: the first call starts it, and it outlives that call."""

    def __init__(self, module):
        self.model = torch.compile(module, backend="eager", dynamic=False)
        self.queue = None
        self.task = None

    async def call(self, size):
        if self.task is None:
            self.queue = asyncio.Queue()
            self.task = asyncio.get_running_loop().create_task(self.serve())
        done = asyncio.get_running_loop().create_future()
        await self.queue.put((size, done))
        return await done

    async def serve(self):
        while True:
            size, done = await self.queue.get()
            done.set_result(self.model(torch.zeros(size)))


def test_a_batching_loop_that_a_warmup_started_serves_afterwards(instrumented):
    """It compiles for the item that waits for it, and later in phase ``serving``, for nobody."""
    batching = Batching(LlamaModel())

    async def serve_more():
        await batching.call(7)
        batching.task.cancel()

    def run(shape):
        return batching.call(shape["size"])

    async def main():
        target = WarmupTarget("net", run, [{"size": 3}, {"size": 4}], is_encoder=True)
        return warm([target]), batching.task.get_loop()

    result, loop = asyncio.run(main())
    assert [(item.state, item.compiles) for item in result.items] == [("warm", 1), ("warm", 1)]
    assert {record.phase for record in get_ledger().records()} == {"warmup"}
    assert {record.component for record in get_ledger().records()} == {"encoder"}
    mark_ready()
    before = [(item.compiles, item.compile_s, item.calls) for item in result.items]
    loop.run_until_complete(serve_more())
    late = get_ledger().records()[-1]
    assert (late.phase, late.component) == ("serving", "language_model")
    assert [(item.compiles, item.compile_s, item.calls) for item in result.items] == before


def test_a_thread_that_a_call_started_is_the_warmups_until_it_ends(instrumented):
    go_on, over = threading.Event(), threading.Event()

    def later():
        go_on.wait(10)
        compile_now(5, VisionTower())
        over.set()

    def run(_):
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(later,), daemon=True).start()
        compile_now(3)

    result = warm([WarmupTarget("net", run, [{}], is_encoder=False)], verify=False)
    mark_ready()
    go_on.set()
    assert over.wait(10)
    tower = records()["VisionTower"]
    assert (tower.phase, tower.component) == ("serving", "encoder")
    assert result.totals.total.compiles == result.items[0].compiles


def request(exported, name="POST /generate"):
    tracer = exported.tracer_provider.get_tracer("server")
    return tracer.start_as_current_span(name, kind=SpanKind.SERVER)


def test_a_task_that_outlives_its_request_is_not_that_requests(exported, instrumented):
    async def main():
        go_on = asyncio.Event()

        async def background():
            await go_on.wait()
            compile_now(3)

        with request(instrumented) as span:
            task = asyncio.create_task(background())
            await asyncio.sleep(0)
            compile_now(4, VisionTower())
        go_on.set()
        await task
        return span.get_span_context()

    served = asyncio.run(main())
    early, late = records()["VisionTower"], records()["LlamaModel"]
    assert (early.request, late.request) == ("POST /generate", None)
    spans = {span.attributes["torch.compile.name"]: span for span in instrumented.compiles}
    assert spans["VisionTower"].parent.span_id == served.span_id
    assert spans["LlamaModel"].parent is None
    (link,) = spans["LlamaModel"].links
    assert link.context.span_id == served.span_id


def test_baggage_of_a_warmup_ends_with_its_request(instrumented):
    mark_ready()

    def body():
        token = otel_context.attach(baggage.set_baggage("compilespan.phase", "warmup"))
        try:
            with request(instrumented):
                kept.append(contextvars.copy_context())
                compile_now(3, VisionTower())
        finally:
            otel_context.detach(token)

    kept = []
    body()
    kept[0].run(compile_now, 4)
    assert records()["VisionTower"].phase == "warmup"
    assert records()["LlamaModel"].phase == "serving"


def test_baggage_without_a_request_that_is_served_says_nothing(instrumented):
    """Without a span nobody knows when the request ended."""
    mark_ready()
    token = otel_context.attach(baggage.set_baggage("compilespan.phase", "warmup"))
    try:
        compile_now(3)
    finally:
        otel_context.detach(token)
    assert records()["LlamaModel"].phase == "serving"


def test_what_a_target_states_stays_with_the_tasks_that_it_started(instrumented):
    """The loop of one target compiles while another target runs."""
    loop = Batching(VisionTower())

    async def vision(shape):
        await loop.call(shape["size"])

    async def language(shape):
        compile_now(shape["size"])
        await loop.call(shape["size"] + 10)

    warm(
        [
            WarmupTarget("vision", vision, [{"size": 3}], is_encoder=True),
            WarmupTarget("language", language, [{"size": 4}], is_encoder=False),
        ],
        verify=False,
    )
    towers = [record for record in get_ledger().records() if record.name == "VisionTower"]
    assert [record.component for record in towers] == ["encoder", "encoder"]


def test_blocks_that_are_not_left_in_reverse_order_end_each_for_itself(instrumented):
    def generator(name, size):
        with monitor_torch_compile(name):
            yield
            compile_now(size)
            yield

    first, second = generator("first", 3), generator("second", 4)
    next(first)
    next(second)
    first.close()
    next(second)
    second.close()
    assert [(r.name, r.kind) for r in get_ledger().records()] == [
        ("first", "empty"),
        ("second", "compile"),
    ]


def test_a_block_that_is_left_in_another_thread_is_the_one_that_was_entered(exported):
    """As FastAPI enters and leaves dependencies: each in a thread with a copied context."""
    block = monitor_torch_compile("dependency", kind="compile")

    @contextlib.contextmanager
    def dependency():
        with block:
            yield

    async def request(delay_s, seconds):
        await asyncio.sleep(delay_s)
        around = dependency()
        await asyncio.to_thread(around.__enter__)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(around.__exit__, None, None, None)

    async def both():
        await asyncio.gather(request(0, 0.1), request(0.03, 0.4))

    asyncio.run(both())
    short, long = [record.duration_s for record in get_ledger().records()]
    assert 0.09 < short < 0.25
    assert 0.39 < long < 0.7


def test_a_block_that_is_closed_is_no_parent_any_more(instrumented):
    with monitor_torch_compile("block", is_encoder=True):
        kept = contextvars.copy_context()
    assert has_ended(kept.run(trace.get_current_span))
    kept.run(compile_now, 3)
    late = records()["LlamaModel"]
    assert late.component == "language_model"
    spans = {span.attributes["torch.compile.name"]: span for span in instrumented.compiles}
    assert spans["LlamaModel"].parent is None
    assert spans["LlamaModel"].links[0].context.span_id == spans["block"].context.span_id


@pytest.mark.parametrize("is_encoder", [True, False])
def test_a_statement_holds_for_what_compiles_inside(instrumented, is_encoder):
    """An explicit ``False`` means a language model."""
    result = warm(
        [WarmupTarget("net", lambda _: compile_now(3, VisionTower()), [{}], is_encoder=is_encoder)]
    )
    assert result.items[0].compiles
    expected = "encoder" if is_encoder else "language_model"
    assert {record.component for record in get_ledger().records()} == {expected}


def test_a_warmup_inside_a_block_still_knows_what_its_calls_compiled(instrumented):
    model = torch.compile(LlamaModel(), backend="eager", dynamic=False)
    sizes = iter(range(1, 100))
    with monitor_torch_compile("around"):
        result = warm([WarmupTarget("net", lambda _: model(torch.zeros(next(sizes))), [{}])])
    assert result.items[0].state == "unstable"
