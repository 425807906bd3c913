"""Ids that Dynamo's rewinding of ``random`` cannot duplicate."""

from __future__ import annotations

import threading

import pytest
import torch
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from compilespan import TorchCompileInstrumentor
from compilespan.telemetry.ids import SystemRandomIdGenerator, repair
from support import Exported


def ids_drawn_around_compiles(exported):
    """Make spans before, during and after compiles, from two threads; return their ids."""
    tracer = exported.tracer_provider.get_tracer("test")
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            tracer.start_span("busy").end()
            stop.wait(0.001)

    def backend(gm, _inputs):
        for _ in range(10):
            tracer.start_span("inside").end()
        return gm.forward

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for size in range(2, 8):
            torch.compile(lambda x: x + 1, backend=backend, dynamic=False)(torch.zeros(size))
            for _ in range(10):
                tracer.start_span("after").end()
    finally:
        stop.set()
        thread.join()
    return [span.context.span_id for span in exported.spans]


def test_span_ids_are_distinct_while_other_threads_make_spans_during_compiles():
    exported = Exported.create()
    TorchCompileInstrumentor().instrument(**exported.providers)
    ids = ids_drawn_around_compiles(exported)
    assert len(ids) > 100
    assert len(set(ids)) == len(ids)


def test_without_the_repair_ids_are_duplicated():
    """The fault is real in this torch; when this fails, the repair may go."""
    ids = ids_drawn_around_compiles(Exported.create())
    assert len(set(ids)) < len(ids)


def test_a_provider_that_exists_is_repaired_with_the_tracers_it_handed_out():
    provider = TracerProvider(shutdown_on_exit=False)
    tracer = provider.get_tracer("before")
    assert repair(provider) is True
    assert repair(provider) is False
    import random

    state = random.getstate()
    first = tracer.start_span("a").get_span_context()
    random.setstate(state)
    second = tracer.start_span("b").get_span_context()
    assert first.span_id != second.span_id
    assert first.trace_id != second.trace_id


def test_somebodys_own_generator_is_left_alone():
    class Own(RandomIdGenerator):
        pass

    provider = TracerProvider(id_generator=Own(), shutdown_on_exit=False)
    assert repair(provider) is False


@pytest.mark.parametrize("call", ["generate_span_id", "generate_trace_id"])
def test_generated_ids_are_valid_and_differ(call):
    generator = SystemRandomIdGenerator()
    drawn = {getattr(generator, call)() for _ in range(1000)}
    assert len(drawn) == 1000
    assert 0 not in drawn


def test_the_generator_has_a_name_for_the_environment(monkeypatch):
    from opentelemetry.sdk._configuration import _import_id_generator

    assert isinstance(_import_id_generator("compilespan"), SystemRandomIdGenerator)
