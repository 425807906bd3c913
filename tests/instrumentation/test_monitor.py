"""The clock and its rules, without torch."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import os
import re
import threading
import time

import pytest
from opentelemetry import trace

from compilespan import CompileRecord, get_ledger, monitor_torch_compile, semconv
from compilespan.semconv import SCHEMA_URL
from compilespan.telemetry.telemetry import Telemetry, use_telemetry
from compilespan.telemetry.warmups import WarmupDuration
from support import duration_ns, events, snapshot

GRAPH = "torch.compile.graph"


def only_record():
    (record,) = get_ledger().records()
    return record


def test_a_block_is_one_span_with_everything_known_of_it(exported):
    with monitor_torch_compile("vision_tower", is_encoder=True, kind="compile") as monitor:
        monitor.add_event(GRAPH, {"torch.compile.cache.result": "miss"})
    (span,) = exported.spans
    assert snapshot(span) == {
        "name": "torch.compile vision_tower",
        "kind": "INTERNAL",
        "status": "UNSET",
        "attributes": {
            "is_encoder": True,
            "torch.compile.cache.result": "miss",
            "torch.compile.component": "encoder",
            "torch.compile.graph.count": 1,
            "torch.compile.graph_break.count": 0,
            "torch.compile.is_recompile": False,
            "torch.compile.kind": "compile",
            "torch.compile.name": "vision_tower",
            "torch.compile.outcome": "ok",
            "torch.compile.phase": "startup",
            "torch.compile.trigger": "explicit",
        },
        "events": [(GRAPH, {"torch.compile.cache.result": "miss", "torch.compile.graph.index": 0})],
    }


def test_every_output_shows_the_same_number(exported):
    with monitor_torch_compile("a", is_encoder=True, kind="compile") as monitor:
        time.sleep(0.01)
    record = only_record()
    (span,) = exported.spans
    ((_, histogram_sum),) = exported.points("torch.compile.duration")
    assert duration_ns(span) == record.duration_ns
    assert histogram_sum == record.duration_s == monitor.duration_s
    assert get_ledger().totals().encoder.compile_s == record.duration_s
    assert record.duration_ns >= 10_000_000


def test_the_duration_has_an_exemplar_that_leads_to_its_span(exported):
    with monitor_torch_compile("a", kind="compile"):
        pass
    (span,) = exported.spans
    ((exemplar,),) = exported.exemplars("torch.compile.duration")
    assert exemplar.trace_id == span.context.trace_id
    assert exemplar.span_id == span.context.span_id


def test_the_clock_is_read_before_anything_of_ours_is_done(exported, monkeypatch):
    """Rule 2: a slow exporter is no compile time."""
    monitor = monitor_torch_compile("a", kind="compile")
    span_end = type(exported.tracer_provider.get_tracer("x").start_span("x")).end

    def slow_end(self, *args, **kwargs):
        time.sleep(0.2)
        return span_end(self, *args, **kwargs)

    monkeypatch.setattr("opentelemetry.sdk.trace._Span.end", slow_end)
    with monitor:
        pass
    assert only_record().duration_s < 0.1


def test_event_times_are_the_start_and_monotonic_elapsed(exported):
    with monitor_torch_compile("a") as monitor:
        time.sleep(0.02)
        monitor.add_event(GRAPH)
    (span,) = exported.spans
    (event,) = span.events
    assert span.start_time + 20_000_000 <= event.timestamp <= span.end_time


def test_a_wall_clock_that_jumps_changes_no_duration(exported, monkeypatch):
    with monitor_torch_compile("a", kind="compile") as monitor:
        monkeypatch.setattr(time, "time_ns", lambda: 0)
        monitor.add_event(GRAPH)
    (span,) = exported.spans
    assert 0 <= duration_ns(span) < 10**9
    assert span.start_time <= span.events[0].timestamp <= span.end_time


def test_a_block_in_which_nothing_compiled_is_empty_and_counts_nowhere(exported):
    with monitor_torch_compile("a"):
        time.sleep(0.001)
    assert only_record().kind == "empty"
    total = get_ledger().totals().total
    assert (total.compiles, total.compile_s, total.wall_s) == (0, 0.0, 0.0)


def test_a_graph_makes_an_unspecified_block_a_compile(exported):
    with monitor_torch_compile("a") as monitor:
        monitor.add_event(GRAPH)
    assert only_record().kind == "compile"


@pytest.mark.parametrize("kind", ["compile", "load", "capture", "empty"])
def test_the_kind_that_a_block_says_is_kept(exported, kind):
    with monitor_torch_compile("a", kind=kind):
        pass
    assert only_record().kind == kind


def test_a_block_in_a_block_is_an_event_of_the_outer_one(exported):
    with monitor_torch_compile("outer", is_encoder=True, kind="compile"):
        with monitor_torch_compile("inner", is_encoder=False, kind="compile") as inner:
            inner.add_event(GRAPH)
    record = only_record()
    assert (record.name, record.graphs) == ("outer", 1)
    (span,) = exported.spans
    assert events(span, "torch.compile.nested") == [
        {"torch.compile.name": "inner", "torch.compile.trigger": "explicit"}
    ]


def test_a_block_three_deep_tells_the_outermost(exported):
    with monitor_torch_compile("a"), monitor_torch_compile("b"), monitor_torch_compile("c") as c:
        c.add_event(GRAPH)
    assert (only_record().name, only_record().graphs) == ("a", 1)


def test_a_block_of_unknown_component_takes_that_of_what_compiled_inside(exported):
    with monitor_torch_compile("outer"), monitor_torch_compile("inner", is_encoder=True):
        pass
    assert only_record().is_encoder is True


def test_nobody_knows_better_means_no_encoder(exported):
    with monitor_torch_compile("a"):
        pass
    assert only_record().is_encoder is False


def test_a_failing_block_is_an_error_and_its_exception_is_unchanged(exported):
    error = ValueError("boom")
    with pytest.raises(ValueError, match="boom") as caught, monitor_torch_compile("a"):
        raise error
    assert caught.value is error
    assert error.__cause__ is None
    record = only_record()
    assert (record.outcome, record.error_type) == ("failed", "ValueError")
    (span,) = exported.spans
    assert span.status.status_code.name == "ERROR"
    assert span.attributes["error.type"] == "ValueError"
    (event,) = events(span, "exception")
    assert event["exception.type"] == "ValueError"
    assert "boom" in event["exception.stacktrace"]
    total = get_ledger().totals().total
    assert (total.failed, total.failed_s, total.compile_s) == (1, record.duration_s, 0.0)


@pytest.mark.parametrize(
    ("chosen", "on_span", "in_log"), [("", 1, 0), ("logs", 0, 1), ("logs/dup", 1, 1)]
)
def test_opentelemetrys_own_choice_for_exceptions_is_honoured(
    exported, monkeypatch, chosen, on_span, in_log
):
    monkeypatch.setenv("OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN", chosen)
    use_telemetry(Telemetry(**exported.providers))

    def fails():
        with monitor_torch_compile("a") as monitor:
            monitor.add_event("torch.compile.graph")
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        fails()
    (span,) = exported.spans
    assert len(events(span, "exception")) == on_span
    assert len(events(span, "torch.compile.graph")) == 1  # events have a choice of their own
    assert len(exported.logs) == in_log
    assert span.attributes["error.type"] == "ValueError"


def test_names_follow_a_schema_in_every_signal(exported):
    use_telemetry(Telemetry(**exported.providers, events="both"))
    WarmupDuration(exported.meter_provider).record(1.0, "succeeded")
    with monitor_torch_compile("a", kind="compile") as monitor:
        monitor.add_event("torch.compile.graph")
    (span,), (log,) = exported.spans, exported.logs_exporter.get_finished_logs()
    scopes = [
        scope.scope
        for resource in exported.reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
    ]
    assert len(scopes) == 2
    for scope in [span.instrumentation_scope, log.instrumentation_scope, *scopes]:
        assert scope.schema_url == SCHEMA_URL
    assert re.fullmatch(r"https://opentelemetry\.io/schemas/1\.\d+\.0", SCHEMA_URL)


def test_only_a_failed_block_has_an_error_type(exported):
    with monitor_torch_compile("a", kind="compile"):
        pass
    (span,) = exported.spans
    assert "error.type" not in span.attributes
    assert span.status.status_code.name == "UNSET"


def test_an_event_has_no_attribute_that_is_a_duration(exported):
    """Rule 3."""
    durations = dict.fromkeys(
        ("duration", "time_taken_ns", "elapsed_s", "took_ms", "x.latency", "time_saved_ms"), 5
    )
    with monitor_torch_compile("a") as monitor:
        monitor.add_event(GRAPH, {**durations, "torch.compile.graph.op_count": 3})
    (event,) = events(exported.spans[0], GRAPH)
    assert set(event) == {"torch.compile.graph.op_count", "torch.compile.graph.index"}


def test_two_threads_make_two_records_and_wall_is_their_union(exported):
    """Rule 4."""
    inside = threading.Barrier(2)

    def block():
        with monitor_torch_compile("a", kind="compile"):
            inside.wait()
            time.sleep(0.05)

    threads = [threading.Thread(target=block) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, second = get_ledger().records()
    assert first.thread_id != second.thread_id
    total = get_ledger().totals().total
    assert total.compile_s == pytest.approx(first.duration_s + second.duration_s)
    union_ns = max(first.end_ns, second.end_ns) - min(first.start_ns, second.start_ns)
    assert total.wall_s == union_ns / 1e9 < total.compile_s


def test_a_thread_without_the_context_makes_its_own_record(exported):
    def other():
        with monitor_torch_compile("other", kind="compile"):
            pass

    with monitor_torch_compile("block", kind="compile"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert sorted(record.name for record in get_ledger().records()) == ["block", "other"]


def test_compiles_of_to_thread_are_one_record(exported):
    def compile_one():
        with monitor_torch_compile("inner") as inner:
            inner.add_event(GRAPH)

    async def main():
        with monitor_torch_compile("block", kind="compile"):
            await asyncio.gather(*(asyncio.to_thread(compile_one) for _ in range(2)))

    asyncio.run(main())
    assert (only_record().name, only_record().graphs) == ("block", 2)


def test_a_task_that_outlives_its_block_makes_its_own_record(exported):
    async def late():
        await asyncio.sleep(0.02)
        with monitor_torch_compile("late", kind="compile") as monitor:
            monitor.add_event(GRAPH)

    async def main():
        with monitor_torch_compile("block", kind="compile"):
            task = asyncio.create_task(late())
        await task

    asyncio.run(main())
    assert [(r.name, r.graphs) for r in get_ledger().records()] == [("block", 0), ("late", 1)]


def test_what_goes_on_after_its_block_closed_is_counted_from_there_and_once(exported):
    """Nothing is lost, nothing is counted twice: the block's part is the block's."""
    adopted, closed = threading.Event(), threading.Event()

    def compile_long():
        with monitor_torch_compile("long", kind="compile") as monitor:
            monitor.add_event(GRAPH)
            adopted.set()
            assert closed.wait(5)
            monitor.add_event(GRAPH)

    with monitor_torch_compile("block", kind="compile"):
        thread = threading.Thread(target=contextvars.copy_context().run, args=(compile_long,))
        thread.start()
        assert adopted.wait(5)
        time.sleep(0.03)
    time.sleep(0.03)
    closed.set()
    thread.join()
    block, long = get_ledger().records()
    assert (block.name, block.graphs, long.name, long.graphs) == ("block", 1, "long", 1)
    assert long.start_ns >= block.end_ns
    total = get_ledger().totals().total
    assert total.compile_s == pytest.approx(total.wall_s, abs=1e-3)


def test_events_after_the_end_are_ignored(exported):
    with monitor_torch_compile("a") as monitor:
        pass
    monitor.add_event(GRAPH)
    assert only_record().graphs == 0
    assert exported.spans[0].events == ()


def test_a_decorated_function_is_a_block_by_its_own_name(exported):
    @monitor_torch_compile(kind="compile")
    def load_unet():
        return 5

    assert load_unet() == 5
    assert only_record().name.endswith("load_unet")


def test_a_decorated_coroutine_function_is_awaited_inside(exported):
    @monitor_torch_compile("a", kind="compile")
    async def slow():
        await asyncio.sleep(0.03)
        return 6

    assert asyncio.run(slow()) == 6
    assert only_record().duration_s >= 0.03


def test_the_message_is_logged_once_with_the_seconds_of_the_record(exported, caplog):
    with caplog.at_level(logging.INFO, logger="compilespan"):
        with monitor_torch_compile("a", message="took %.6f s"), monitor_torch_compile("b"):
            time.sleep(0.001)
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.INFO] == [
        f"took {only_record().duration_s:.6f} s"
    ]


def test_a_message_without_a_place_for_the_number_is_logged_as_it_is(exported, caplog):
    with caplog.at_level(logging.INFO, logger="compilespan"):
        with monitor_torch_compile("a", message="done"):
            pass
    assert "done" in caplog.messages


def test_the_current_span_is_the_parent_and_the_monitor_is_current_inside(exported):
    tracer = exported.tracer_provider.get_tracer("test")
    with tracer.start_as_current_span("request") as request:
        with monitor_torch_compile("a"):
            inside = trace.get_current_span().get_span_context()
        assert trace.get_current_span() is request
    (span,) = exported.compiles
    assert span.parent.span_id == request.get_span_context().span_id
    assert span.context.span_id == inside.span_id


def test_counters_of_active_compiles_go_back_to_zero(exported):
    def values(name):
        return {a["torch.compile.component"]: value for a, value in exported.points(name)}

    nobody = {"encoder": 0, "language_model": 0, "other": 0}
    with monitor_torch_compile("a", is_encoder=True):
        assert values("torch.compile.active_compiles") == {**nobody, "encoder": 1}
        time.sleep(0.01)
        ages = values("torch.compile.oldest_active_age")
        assert 0.01 <= ages.pop("encoder") < 5
        assert ages == {"language_model": 0.0, "other": 0.0}
        (begun,) = get_ledger().active.now()
        assert begun.name == "a"
    assert values("torch.compile.active_compiles") == nobody
    assert values("torch.compile.oldest_active_age") == nobody
    assert get_ledger().active.now() == ()


def test_log_based_events_carry_the_monitors_context(exported):
    use_telemetry(Telemetry(**exported.providers, events="log"))
    other = exported.tracer_provider.get_tracer("backend")
    with monitor_torch_compile("a") as monitor, other.start_as_current_span("elsewhere"):
        monitor.add_event(GRAPH)
        (log,) = exported.logs  # the moment it happens, not at the end
    assert log.event_name == GRAPH
    assert log.span_id == exported.compiles[0].context.span_id
    assert exported.compiles[0].events == ()


def test_both_channels_tell_the_same(exported):
    use_telemetry(Telemetry(**exported.providers, events="both"))
    with monitor_torch_compile("a") as monitor:
        monitor.add_event(GRAPH, {"torch.compile.range": "1-8"})
    (log,) = exported.logs
    (event,) = exported.compiles[0].events
    assert dict(log.attributes) == dict(event.attributes)
    assert log.timestamp == event.timestamp


def test_without_any_sdk_the_ledger_is_complete():
    with monitor_torch_compile("a", kind="compile") as monitor:
        monitor.add_event(GRAPH)
    assert (only_record().graphs, only_record().trace_id) == (1, "")


def test_a_broken_provider_costs_telemetry_and_nothing_else():
    """Rule 6."""

    class Broken:
        def get_tracer(self, *_args, **_kwargs):
            return self

        def start_span(self, *_args, **_kwargs):
            raise RuntimeError("broken")

    use_telemetry(Telemetry(tracer_provider=Broken()))
    with monitor_torch_compile("a", kind="compile"):
        pass
    assert only_record().kind == "compile"


def test_300_events_on_a_users_default_provider_are_counted_and_the_span_says_what_it_lost(
    exported,
):
    with monitor_torch_compile("a") as monitor:
        for _ in range(300):
            monitor.add_event(GRAPH)
    (span,) = exported.spans
    assert only_record().graphs == 300
    assert len(span.events) == 128
    assert span.attributes["torch.compile.event.dropped"] == 300 - 128
    assert span.attributes["torch.compile.graph.count"] == 300
    assert exported.points("compilespan.telemetry.dropped") == [
        ({"compilespan.signal": "events"}, 172)
    ]


def test_a_forked_child_inherits_nothing(exported):
    with monitor_torch_compile("parents", kind="compile"):
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            with monitor_torch_compile("childs", kind="compile"):
                pass
            names = ",".join(record.name for record in get_ledger().records())
            os.write(write, f"{names} {get_ledger().active.now()}".encode())
            os._exit(0)
        os.waitpid(pid, 0)
    assert os.read(read, 1000) == b"childs ()"
    assert only_record().name == "parents"


def test_a_record_keeps_its_events_with_the_moment_of_the_spans(exported):
    with monitor_torch_compile("a") as monitor:
        monitor.add_event(semconv.EVENT_GRAPH, {semconv.CACHE_RESULT: "hit"})
        monitor.add_event("x", {"text": "y" * 5000})
        for _ in range(300):
            monitor.add_event(semconv.EVENT_GRAPH)
    (span,), (record,) = exported.compiles, get_ledger().records()
    assert len(record.events) == 256
    assert record.events[0].name == semconv.EVENT_GRAPH
    assert record.events[0].attributes == {semconv.CACHE_RESULT: "hit", semconv.GRAPH_INDEX: 0}
    assert len(record.events[1].attributes["text"]) == 1024
    kept = {event.timestamp for event in span.events}
    assert record.events[255].time_ns in kept
    assert all(record.start_ns <= e.time_ns <= record.end_ns for e in record.events)
    assert CompileRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_an_interrupted_compile_leaves_a_whole_span_and_record(exported):
    block = monitor_torch_compile("a", kind="compile")
    block.__enter__()
    get_ledger().active.interrupt()
    (span,), (record,) = exported.compiles, get_ledger().records()
    assert (record.outcome, record.error_type) == (
        "failed",
        "compilespan.ledger.active.InterruptedCompile",
    )
    assert span.end_time == record.end_ns
    assert get_ledger().active.now() == ()
    block.__exit__(None, None, None)  # it ends after all: nothing is counted twice
    assert len(get_ledger().records()) == 1
