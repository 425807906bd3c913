"""The program that is watched stays as it is: what it sees and does does not change (rule 6)."""

from __future__ import annotations

import functools
import io
import linecache
import os
import pdb  # noqa: T100  # the one that programs use
import signal
import sys
import threading
from pathlib import Path

import pytest
import torch

import compilespan
from compilespan import get_ledger, mark_component, monitor_torch_compile
from compilespan.monitor.surroundings import current
from compilespan.telemetry.telemetry import Telemetry, use_telemetry
from support import Exported

PACKAGE = f"{Path(compilespan.__file__).parent}{os.sep}"


def double(x):
    return x * 2


def compiled():
    """A compiled function that compiles at its next call."""
    torch._dynamo.reset()
    return torch.compile(double, backend="eager")


class TestLocals:
    """Before Python 3.13 a frame's locals are one dictionary for everybody who asks for it."""

    def test_what_locals_gave_is_still_there_after_a_compile(self, instrumented):
        def handle(model, batch, temperature=0.7):
            given = locals()
            model(torch.zeros(batch, 4))
            return given["temperature"]

        assert handle(compiled(), 2) == 0.7
        assert len(get_ledger().records()) == 1

    def test_they_can_be_iterated_over_while_something_compiles(self, instrumented):
        def run(model):
            x, y = torch.zeros(2), torch.zeros(3, 3)
            return [name for name, value in locals().items() if model(torch.zeros(2)) is not value]

        assert sorted(run(compiled())) == ["model", "x", "y"]

    def test_a_text_can_be_filled_in_from_them_afterwards(self, instrumented):
        def run(model):
            batch = 3
            given = locals()
            model(torch.zeros(batch))
            return "%(batch)s" % given  # noqa: UP031  # as programs do

        assert run(compiled()) == "3"

    def test_those_of_a_class_body_and_of_the_module_stay(self, instrumented):
        namespace = {"model": compiled(), "torch": torch, "kept": 5}
        exec("given = locals()\nmodel(torch.zeros(2))\nassert given['kept'] == 5", namespace)
        assert namespace["kept"] == 5

    def test_a_debugger_goes_on_with_the_programs_variables(self, instrumented):
        model, heard = compiled(), io.StringIO()

        def program():
            kept = 5
            debugger.set_trace()
            return kept

        debugger = pdb.Pdb(
            stdin=io.StringIO("import torch\np model(torch.zeros(2))\nc\n"),
            stdout=heard,
            nosigint=True,
        )
        try:
            assert program.__closure__ is not None
            globals()["model"] = model
            assert program() == 5
        finally:
            sys.settrace(None)
            del globals()["model"]
        assert "tensor([0., 0.])" in heard.getvalue()

    def test_no_frame_but_torchs_own_is_asked_for_its_locals(self, instrumented, monkeypatch):
        from compilespan.dynamo import frames

        read = []
        original = frames.locals_of

        def locals_of(frame):
            found = original(frame)
            read.append((frame.f_code.co_filename, dict(found)))
            return found

        monkeypatch.setattr(frames, "locals_of", locals_of)
        compiled()(torch.zeros(2))
        assert read
        folder = f"{Path(torch.__file__).parent}{os.sep}"
        assert not any(found for file, found in read if not file.startswith(folder))
        assert not original(sys._getframe())


def test_a_profiler_that_the_call_starts_keeps_running(instrumented):
    from compilespan import WarmupTarget, warm

    calls = []

    def profile(*_):
        calls.append(1)

    def run(_):
        model(torch.zeros(2))
        sys.setprofile(profile)

    model = compiled()
    try:
        warm([WarmupTarget("profiled", run, [{}])])
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("variable", ["OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"])
def test_a_typo_in_a_variable_costs_the_spans_and_one_warning(monkeypatch, caplog, variable):
    from compilespan.sdk import configure

    def make():
        providers = configure(set_global=False)
        return Telemetry(providers.tracer_provider, providers.meter_provider)

    monkeypatch.setenv(variable, "otpl")
    use_telemetry(make)
    for _ in range(2):
        with monitor_torch_compile("a", kind="compile"):
            pass
    assert [record.outcome for record in get_ledger().records()] == ["ok", "ok"]
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "'otpl'" in warning
    assert "Correct the OTEL_* variables" in warning


class Broken:
    """A span processor of the program that raises."""

    def __init__(self, where):
        self.where = where

    def on_start(self, span, parent_context=None):
        if self.where == "on_start":
            raise RuntimeError("theirs")

    def _on_ending(self, span):
        pass

    def on_end(self, span):
        if self.where == "on_end":
            raise RuntimeError("theirs")

    def shutdown(self):
        pass

    def force_flush(self, timeout_millis=0):
        return True


@pytest.mark.parametrize("where", ["on_start", "on_end"])
def test_a_span_processor_that_raises_costs_the_span_and_no_other_output(where):
    """Rule 2: histogram, ledger, listener and subscriber still show the same number."""
    from compilespan import TorchCompileInstrumentor, WarmupTarget, warm

    exported = Exported.create()
    exported.tracer_provider.add_span_processor(Broken(where))
    TorchCompileInstrumentor().instrument(**exported.providers)
    followed = []
    end = get_ledger().subscribe(followed.append)
    model = compiled()
    result = warm([WarmupTarget("net", lambda _: model(torch.zeros(3)), [{}])])
    end()
    (record,) = get_ledger().records()
    ((_, seconds),) = exported.points("torch.compile.duration")
    assert seconds == record.duration_s
    assert followed == [record]
    assert [(item.state, item.compiles) for item in result.items] == [("warm", 1)]
    assert get_ledger().active.now() == ()


def source_of(frame):
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()


def traced(call, on_line):
    """Make a call, and call ``on_line(frame)`` before each line of ours."""

    def trace(frame, event, _):
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        # Python looks for signals at calls and jumps; "try:" is neither.
        if event == "line" and source_of(frame) != "try:":
            on_line(frame)
        return trace

    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(None)


def interrupted_at(number, call):
    """Make a call in which the ``number``-th line of ours raises KeyboardInterrupt.

    Returns:
        Whether the call has so many lines of ours.
    """
    left, where = number, False

    def on_line(frame):
        nonlocal left, where
        left -= 1
        if left == 0:
            where = True
            raise KeyboardInterrupt

    try:
        traced(call, on_line)
    except KeyboardInterrupt:
        assert where
    else:
        assert not where, "the interrupt was swallowed"
    return where


def test_an_interrupt_at_any_line_of_ours_leaves_nothing_in_progress(instrumented):
    """Ctrl-C, or a signal handler that exits, may arrive between our opening and torch's own."""

    def call():
        compiled()(torch.zeros(2))

    number = -6
    while interrupted_at(number := number + 7, call):
        call()  # torch is as it was
        assert get_ledger().active.now() == (), number
        assert get_ledger().records()[-1].outcome == "ok", number
        assert current() is None, number
    assert number > 300


def test_an_interrupt_in_a_block_is_the_programs_and_the_block_is_over(exported):
    def call():
        with monitor_torch_compile("a", kind="compile"):
            pass

    number = 0
    while interrupted_at(number := number + 1, call):
        assert get_ledger().active.now() == (), number
        assert current() is None, number
    assert number > 100
    before = len(get_ledger().records())
    call()
    assert len(get_ledger().records()) == before + 1


class TestBlocks:
    def test_one_object_entered_by_two_threads_measures_each(self, exported):
        import time

        block = monitor_torch_compile("a", kind="compile")
        second_is_in = threading.Event()

        def first():
            with block:
                second_is_in.wait(5)
                time.sleep(0.05)

        def second():
            with block:
                second_is_in.set()
                time.sleep(0.2)

        threads = [threading.Thread(target=first), threading.Thread(target=second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        by_thread = {record.thread_id: record.duration_s for record in get_ledger().records()}
        assert by_thread[threads[0].ident] < 0.15 < by_thread[threads[1].ident]

    def test_one_object_entered_by_two_tasks_measures_each(self, exported):
        import asyncio

        block = monitor_torch_compile("a", kind="compile")

        async def task(delay_s, seconds):
            await asyncio.sleep(delay_s)
            with block:
                await asyncio.sleep(seconds)

        async def both():
            await asyncio.gather(task(0, 0.3), task(0.05, 0.1))

        asyncio.run(both())
        short, long = sorted(record.duration_s for record in get_ledger().records())
        assert 0.09 < short < 0.2 < long < 0.4

    def test_a_generator_is_refused(self):
        def generator():
            yield

        async def agenerator():
            yield

        for each in (generator, agenerator):
            with pytest.raises(TypeError, match=f"generator .*{each.__name__}"):
                monitor_torch_compile()(each)

    def test_a_kind_that_is_in_no_column_is_refused(self):
        with pytest.raises(ValueError, match="kind is 'foo'; use one of compile, load"):
            monitor_torch_compile("a", kind="foo")

    def test_a_decorator_without_its_parentheses_is_refused(self):
        with pytest.raises(TypeError, match="with parentheses"):
            monitor_torch_compile(double)

    def test_callables_without_a_name_can_be_decorated(self, exported):
        import functools

        class Model:
            def __call__(self, x):
                return x + 1

        assert monitor_torch_compile()(functools.partial(max, 3))(2) == 3
        assert monitor_torch_compile()(Model())(2) == 3
        names = [record.name for record in get_ledger().records()]
        assert names == [
            "max",
            "TestBlocks.test_callables_without_a_name_can_be_decorated.<locals>.Model",
        ]


def test_a_module_whose_getattr_raises_is_recorded_and_never_asked(instrumented):
    asked = []

    class Hostile(torch.nn.Module):
        def __getattr__(self, name):
            asked.append(name)
            if name.startswith("_compilespan") or name in ("__code__", "__wrapped__", "__self__"):
                raise RuntimeError(name)
            return super().__getattr__(name)

        def forward(self, x):
            return x * 3

    module = Hostile()
    torch.compile(module, backend="eager")(torch.zeros(2))
    (record,) = get_ledger().records()
    assert record.name == "Hostile"
    assert not {"__code__", "__wrapped__", "__self__", "_compilespan_is_encoder"} & set(asked)
    mark_component(module, is_encoder=True)


def test_the_programs_signal_handlers_and_hooks_stay(instrumented):
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    hooks = (
        sys.excepthook,
        threading.excepthook,
        sys.unraisablehook,
        sys.gettrace(),
        sys.getprofile(),
    )
    compiled()(torch.zeros(2))
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert hooks == (
        *(sys.excepthook, threading.excepthook, sys.unraisablehook),
        *(sys.gettrace(), sys.getprofile()),
    )


class TestSignals:
    def test_what_a_handler_raises_in_the_middle_of_our_code_is_the_programs(
        self, instrumented, monkeypatch
    ):
        class Timeout(Exception):
            pass

        class Handler:
            def __call__(self, *_):
                raise Timeout

            def method(self, *_):
                raise Timeout

        def handler(*_):
            raise Timeout

        from compilespan.process.faults import contained

        before = signal.getsignal(signal.SIGUSR1)
        try:
            for each in (handler, Handler(), Handler().method, functools.partial(handler, 1)):
                signal.signal(signal.SIGUSR1, each)
                with pytest.raises(Timeout), contained("do something"):
                    signal.raise_signal(signal.SIGUSR1)
                with contained("do something"):
                    raise ValueError("a fault of ours")
        finally:
            signal.signal(signal.SIGUSR1, before)
