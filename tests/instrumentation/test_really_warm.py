"""Warm means that compiled code ran: absence of compiles is no proof."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from compilespan import WarmupTarget, get_ledger, monitor_torch_compile, warm
from compilespan.dynamo.guards import GuardHook
from compilespan.warmup.plan import plan
from compilespan.warmup.warmup import Warmup
from support import since_torch

X = torch.ones(2)


def double(x):
    return x * 2


def compiled(function=double, **options):
    return torch.compile(function, backend="eager", **options)


def target(name, call, **options):
    return WarmupTarget(name, lambda _: call(X), [{}], **options)


def states(*targets, **options):
    return [item.state for item in warm(list(targets), **options).items]


def test_a_model_that_was_never_compiled_is_not_warm_beside_one_that_is(instrumented):
    plain = torch.nn.Linear(2, 2)
    torch.compile(plain, backend="eager")  # thrown away
    result = warm([target("compiled", compiled()), target("plain", plain)])
    assert [item.state for item in result.items] == ["warm", "eager"]
    assert not result.is_warm
    assert "let run() call what torch.compile returned" in result.warnings[0]


def test_models_that_were_compiled_before_the_warmup_are_warm(instrumented):
    model = compiled()
    model(X)
    assert states(target("net", model)) == ["warm"]


@pytest.mark.parametrize("stance", ["force_eager", "eager_on_recompile"])
def test_where_compiling_is_turned_off_nothing_is_warm(instrumented, stance):
    model = compiled()
    with torch.compiler.set_stance(stance):
        result = warm([target("net", model)])
    assert [item.state for item in result.items] == ["eager"]
    assert "set_stance" in result.warnings[0]
    assert "recompile limit" not in result.warnings[0]


def test_a_function_that_is_disabled_is_not_warm(instrumented):
    assert states(target("net", torch.compiler.disable(compiled()))) == ["eager"]


def test_a_frame_without_any_graph_is_not_warm(instrumented):
    items, same = compiled(lambda xs: [x.item() for x in xs]), compiled(lambda x: x)
    assert states(target("items", lambda _: items([torch.ones(1)]))) == ["eager"]
    assert states(target("same", same)) == ["eager"]


def test_over_the_limit_a_shape_that_is_compiled_stays_warm(instrumented):
    model = compiled(dynamic=False)
    for size in range(1, 12):
        model(torch.ones(size))
    shapes = [{"size": 3}, {"size": 40}]
    result = warm([WarmupTarget("net", lambda s: model(torch.ones(s["size"])), shapes)])
    assert [item.state for item in result.items] == ["warm", "eager"]
    assert "recompile limit" in result.items[1].error


def test_compiled_code_of_others_is_not_the_items(instrumented):
    """Requests are served meanwhile."""
    model, over = compiled(), threading.Event()
    model(X)
    thread = threading.Thread(target=lambda: [model(X) for _ in iter(over.is_set, True)])
    thread.start()
    try:
        result = warm([target("plain", torch.nn.Linear(2, 2))])
    finally:
        over.set()
        thread.join()
    assert [item.state for item in result.items] == ["eager"]


def test_a_model_with_a_thread_of_its_own_is_told_to_give_its_executor(instrumented):
    executor, model = ThreadPoolExecutor(1), compiled()
    executor.submit(model, X).result()  # its thread was there before the warmup
    result = warm([target("net", lambda x: executor.submit(model, x).result())])
    assert [item.state for item in result.items] == ["eager"]
    assert "executor" in result.items[0].error
    assert states(target("net", model, executor=executor)) == ["warm"]
    assert states(target("net", lambda x: executor.submit(model, x))) == ["eager"]


@since_torch("2.10", "compiled functions have no aot_compile")
def test_artefacts_that_are_called_without_guards_are_seen(instrumented):
    made = torch.compile(double, fullgraph=True, backend="aot_eager").aot_compile(((X,), {}))
    plain = torch.nn.Linear(2, 2)
    assert states(target("artefact", made), target("plain", plain)) == ["warm", "eager"]


TWICE = """
import torch
from compilespan import TorchCompileInstrumentor, WarmupTarget, warm

TorchCompileInstrumentor().instrument()
plain = torch.compiler.disable(torch.nn.Linear(2, 2))

def serve(x):
    print(end="")
    return plain(x)

model = torch.compile(serve, backend="eager")
for _ in range(2):
    (item,) = warm([WarmupTarget("net", lambda _: model(torch.ones(1, 2)), [{}])]).items
    print(item.state, "no graph" in item.error)
"""


def test_a_second_warmup_of_what_came_to_no_graph_is_not_warm_either():
    """Its bytecode has guards, which fit."""
    done = subprocess.run(
        [sys.executable, "-c", TWICE], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "eager True\neager True\n"


def test_a_loop_of_another_target_that_runs_by_itself_proves_nothing(instrumented):
    model, plain = compiled(), torch.nn.Linear(2, 2)
    over = threading.Event()
    threads = []

    def start_a_loop(_):
        model(X)
        if not threads:
            context = contextvars.copy_context()
            threads.append(threading.Thread(target=context.run, args=(loop,)))
            threads[0].start()

    def loop():
        while not over.wait(0.01):
            model(X)

    def call_plain(_):
        plain(X)
        time.sleep(0.1)

    try:
        result = warm(
            [
                WarmupTarget("loop", start_a_loop, [{}]),
                WarmupTarget("plain", call_plain, [{}]),
            ]
        )
    finally:
        over.set()
        threads[0].join()
    assert [item.state for item in result.items] == ["warm", "eager"]


class Loop:
    """A thread that runs a model for whoever waits; it begins in the context of the first call."""

    def __init__(self, model):
        self._model = model
        self._asked, self._answered = queue.Queue(), queue.Queue()
        self.thread = None

    def start(self):
        context = contextvars.copy_context()
        self.thread = threading.Thread(target=context.run, args=(self._run,))
        self.thread.start()

    def __call__(self, _=None):
        self._asked.put(X)
        return self._answered.get(timeout=30)

    def stop(self):
        self._asked.put(None)
        self.thread.join()

    def _run(self):
        while (x := self._asked.get()) is not None:
            self._answered.put(self._model(x))


def test_a_loop_that_serves_two_targets_warms_both(instrumented):
    """The first call of the first target starts it; whatever waits for it is what it works for."""
    loop = Loop(compiled())

    def call(_):
        if loop.thread is None:
            loop.start()
        loop()

    try:
        result = warm([WarmupTarget(name, call, [{}]) for name in ("first", "second")])
    finally:
        loop.stop()
    assert [item.state for item in result.items] == ["warm", "warm"]


def test_a_loop_that_a_closed_block_started_is_seen(instrumented):
    loop = Loop(compiled())

    def call(_):
        if loop.thread is None:
            with monitor_torch_compile("init"):
                loop.start()
        loop()

    try:
        assert states(WarmupTarget("net", call, [{}])) == ["warm"]
    finally:
        loop.stop()


def test_what_is_cancelled_before_it_is_verified_is_not_warm(instrumented):
    model, plain = compiled(), torch.nn.Linear(2, 2)
    calls = []

    def run(_):
        model(X)
        calls.append(1)

    plans = plan([target("compiled", lambda _: run({})), target("plain", plain)])
    result = Warmup(plans, go_on=lambda: len(calls) < 3).run()  # the third is the verify pass's
    assert [item.state for item in result.items] == ["warm", "cancelled"]
    assert result.state == "cancelled"


def test_a_reason_is_not_anothers(instrumented):
    """What Dynamo gave back of one model explains nothing of a model that was never compiled."""

    def skipped(x):
        torch._dynamo.graph_break()
        return x

    compiled(skipped)(X)
    result = warm([target("plain", torch.nn.Linear(2, 2))])
    assert "skipped" not in result.items[0].error
    assert "let run() call what torch.compile returned" in result.items[0].error


def test_zero_items_are_never_warm(instrumented):
    for targets in ([], [WarmupTarget("net", compiled(), [])]):
        result = warm(targets)
        assert not result.is_warm
        assert "nothing to warm" in result.warnings[0]


def test_a_generator_as_run_is_executed_never_and_failed(instrumented):
    def generator(_):
        yield compiled()(X)

    async def agenerator(_):
        yield compiled()(X)

    for run in (generator, agenerator):
        result = warm([WarmupTarget("net", run, [{}])])
        (item,) = result.items
        assert item.state == "failed"
        assert "generator" in item.error
    assert get_ledger().records() == ()


INTERRUPTED = """
import signal, time, torch
from compilespan.dynamo.watch import compiled_code_watch

def interrupt(*_):
    raise KeyboardInterrupt

model = torch.compile(lambda x: x * 2, backend="eager")
x = torch.ones(2)
model(x)
signal.signal(signal.SIGALRM, interrupt)
interrupted = 0
with compiled_code_watch:
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0005)
            for _ in range(1000):
                model(x)
        except KeyboardInterrupt:
            interrupted += 1
assert model(x).tolist() == [2.0, 2.0]
print(interrupted)
"""


class TestHook:
    def installed(self):
        set_hook = GuardHook.install_function()
        hook = set_hook(None)
        set_hook(hook)
        return hook

    def test_it_is_there_in_a_verify_pass_only(self, instrumented):
        model, seen = compiled(), []

        def run(x):
            model(x)
            seen.append(self.installed())

        assert states(target("net", run)) == ["warm"]
        assert [hook is not None for hook in seen] == [False, False, True]
        assert self.installed() is None

    def test_somebody_elses_is_called_and_its_answer_counts_and_is_put_back(self, instrumented):
        model, calls = compiled(), []
        model(X)

        def theirs(hit):
            calls.append(hit)
            return hit

        set_hook = GuardHook.install_function()
        set_hook(theirs)
        try:
            assert states(target("net", model)) == ["warm"]
            assert self.installed() is theirs
        finally:
            set_hook(None)
        assert calls
        assert set(calls) == {True}

    def test_one_that_is_installed_meanwhile_stays(self, instrumented):
        model = compiled()
        model(X)
        set_hook = GuardHook.install_function()

        def theirs(hit):
            return hit

        def run(x):
            model(x)
            if self.installed() is not None:
                set_hook(theirs)

        try:
            assert states(target("net", run)) == ["warm"]
            assert self.installed() is theirs
        finally:
            set_hook(None)

    def test_no_interrupt_can_raise_in_it(self):
        """It executes no bytecode, so no signal handler runs in it: an exception ends a process."""
        done = subprocess.run(
            [sys.executable, "-c", INTERRUPTED],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert int(done.stdout) > 5

    def test_an_interrupt_while_it_is_installed_spoils_no_later_warmup(self, instrumented):
        model = compiled()
        model(X)

        def trace(frame, _event, _):
            if frame.f_code is GuardHook.install.__code__:
                sys.settrace(None)
                raise KeyboardInterrupt

        sys.settrace(trace)
        try:
            with pytest.raises(KeyboardInterrupt):
                warm([target("net", model)])
        finally:
            sys.settrace(None)
        assert states(target("net", model)) == ["warm"]


class TestCalls:
    def test_an_exit_of_the_program_leaves_the_warmup(self, instrumented):
        model, ran = compiled(), []

        def run(shape):
            model(X)
            ran.append(shape["n"])
            if shape["n"] == 1:
                sys.exit(7)

        with pytest.raises(SystemExit) as exit_info:
            warm([WarmupTarget("net", run, [{"n": 1}, {"n": 2}])])
        assert exit_info.value.code == 7
        assert ran == [1]
        (warmup,) = instrumented.named("compilespan.warmup")
        assert warmup.attributes["compilespan.job.state"] == "failed"

    def test_async_calls_share_a_loop_also_under_a_running_one(self, instrumented):
        model, loops = compiled(), set()

        async def run(_):
            loops.add(asyncio.get_running_loop())
            await asyncio.sleep(0)
            model(X)

        async def main():
            return states(WarmupTarget("net", run, [{"n": 1}, {"n": 2}]))

        assert states(WarmupTarget("net", run, [{"n": 1}, {"n": 2}])) == ["warm", "warm"]
        assert states(WarmupTarget("net", run, [{"n": 1}])) == ["warm"]
        assert len(loops) == 1
        assert asyncio.run(main()) == ["warm", "warm"]

    @pytest.mark.parametrize("attempt", range(3))
    def test_a_warmup_in_its_targets_own_single_thread_comes_back(self, instrumented, attempt):
        executor, model = ThreadPoolExecutor(1), compiled()
        found = executor.submit(states, target("net", model, executor=executor))
        assert found.result(20) == ["warm"]

    def test_an_interrupted_async_call_does_not_go_on_in_the_next(self, instrumented):
        log = []

        async def slow(_):
            number = len(log)
            log.append(f"start {number}")
            await asyncio.sleep(0.3)
            log.append(f"end {number}")

        def interrupt(*_):
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(KeyboardInterrupt):
                warm([WarmupTarget("net", slow, [{}])])
        finally:
            signal.signal(signal.SIGALRM, before)
        warm([WarmupTarget("net", slow, [{}])], verify=False)
        assert log == ["start 0", "start 1", "end 1"]
