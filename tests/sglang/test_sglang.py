"""What is recorded of SGLang: its own compile files, plugin loader and phases, without a GPU."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest
import torch
from stand_ins import stand_in

from compilespan import get_ledger, semconv
from compilespan.journal.directory import StateDirectory
from compilespan.servers import activation


@pytest.fixture
def configured(monkeypatch, tmp_path):
    """A process of SGLang for which a state directory is set."""
    monkeypatch.setattr(activation, "_entered", {})
    monkeypatch.setattr("compilespan.servers.starting._report", lambda _: None)
    monkeypatch.delenv("COMPILESPAN_FIRST_PID", raising=False)
    monkeypatch.setenv("COMPILESPAN_STATE_DIR", str(tmp_path))
    return tmp_path


def loaded(monkeypatch):
    """Let SGLang's own loader find our entry point and call it."""
    plugins = importlib.import_module("sglang.srt.plugins")
    ours = EntryPoint("compilespan", "compilespan.servers.sglang:install", "sglang.srt.plugins")
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: [ours] if group == "sglang.srt.plugins" else []
    )
    plugins.load_plugins()


def test_our_entry_point_is_of_sglangs_group():
    found = importlib.metadata.entry_points(group="sglang.srt.plugins")
    assert [each.value for each in found if each.name == "compilespan"] == [
        "compilespan.servers.sglang:install"
    ]


def test_the_pieces_of_its_backend_have_index_and_count(sglang, configured, monkeypatch):
    loaded(monkeypatch)
    backend = importlib.import_module("sglang.srt.compilation.backend")
    compilation_config = importlib.import_module("sglang.srt.compilation.compilation_config")
    config = compilation_config.CompilationConfig([1], compiler="eager")
    manager = backend.CompilerManager(config)

    def piecewise(graph, inputs):
        """Compile two pieces of a graph, as SGLang's backend does."""
        pieces = [
            manager.compile(graph, inputs, {}, graph_index=index, num_graphs=2, runtime_shape=size)
            for index, size in ((0, None), (1, 8))
        ]
        return pieces[0]

    torch.compile(lambda x: x + 1, backend=piecewise)(torch.ones(3))
    (record,) = [each for each in get_ledger().records() if each.kind == "compile"]
    graphs = [e.attributes for e in record.events if e.name == semconv.EVENT_GRAPH]
    assert [each[semconv.GRAPH_INDEX] for each in graphs] == [0, 1]
    assert {each[semconv.GRAPH_COUNT] for each in graphs} == {2}
    assert [each.get(semconv.RANGE) for each in graphs] == [None, "8-8"]


def test_a_scheduler_is_ready_after_its_last_step_and_tells_its_phases(
    sglang, configured, monkeypatch
):
    startup_time = importlib.import_module("sglang.srt.observability.startup_time")

    class Scheduler:
        def init_startup_timing_summary(self):
            self.startup_time = startup_time.build_scheduler_startup_time(
                target_load_weight=3.0,
                draft_load_weight=1.0,
                kv_cache_allocation=0.5,
                scheduler_e2e=20.0,
                target_cuda_graph={"decode": 4.0, "prefill": 2.0},
                draft_cuda_graph=None,
            )

    module = stand_in(monkeypatch, "sglang.srt.managers.scheduler", Scheduler=Scheduler)
    loaded(monkeypatch)
    assert get_ledger().readiness.phase == "warmup"
    module.Scheduler().init_startup_timing_summary()
    (captured,) = [each for each in get_ledger().readiness.marks if each.part == "capture"]
    assert captured.end_ns - captured.start_ns == pytest.approx(6 * 10**9)
    assert get_ledger().readiness.phase == "serving"


@pytest.mark.parametrize("fails", [False, True])
def test_the_start_is_over_when_the_engine_has_launched(sglang, configured, monkeypatch, fails):
    class Engine:
        @classmethod
        def _launch_subprocesses(cls, server_args):
            if fails:
                raise RuntimeError("no memory")
            return server_args

    module = stand_in(monkeypatch, "sglang.srt.entrypoints.engine", Engine=Engine)
    loaded(monkeypatch)
    if fails:
        with pytest.raises(RuntimeError, match="no memory"):
            module.Engine._launch_subprocesses("arguments")
    else:
        assert module.Engine._launch_subprocesses("arguments") == "arguments"
    assert get_ledger().journal.flush()
    (process,) = StateDirectory(configured).processes()
    assert process.startup is not None
    assert (process.ready is None) is fails
    assert get_ledger().journal.end_reason == ("failed" if fails else "exit")


def test_on_a_further_node_the_start_is_over_before_the_launch_returns(
    sglang, configured, monkeypatch
):
    """There it waits, in the launch, until the server ends."""
    seen = []

    def _wait_for_scheduler_ready(readers, processes):
        return ["ready"]

    class Engine:
        @classmethod
        def _launch_subprocesses(cls, server_args):
            module._wait_for_scheduler_ready([], [])
            seen.append(get_ledger().readiness.ready)

    module = stand_in(
        monkeypatch,
        "sglang.srt.entrypoints.engine",
        Engine=Engine,
        _wait_for_scheduler_ready=_wait_for_scheduler_ready,
    )
    loaded(monkeypatch)
    module.Engine._launch_subprocesses("arguments")
    assert seen[0] is not None


def test_a_scheduler_that_compiles_nothing_has_a_journal(sglang, configured, monkeypatch):
    class Scheduler:
        startup_time = None

        def init_startup_timing_summary(self):
            pass

    module = stand_in(monkeypatch, "sglang.srt.managers.scheduler", Scheduler=Scheduler)
    monkeypatch.setenv("COMPILESPAN_FIRST_PID", "1")  # it is not the first
    loaded(monkeypatch)
    module.Scheduler().init_startup_timing_summary()
    assert get_ledger().journal.flush()
    (process,) = StateDirectory(configured).processes()
    assert process.ready is not None


def test_without_anything_configured_nothing_happens(sglang, monkeypatch, caplog):
    monkeypatch.setattr(activation, "_entered", {})
    for name in ("COMPILESPAN_STATE_DIR", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_EXPORTER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "argv", ["sglang"])
    monkeypatch.setattr("compilespan.servers.sglang.hooks.install_hooks", lambda: 1 / 0)
    monkeypatch.delenv("COMPILESPAN_FIRST_PID", raising=False)
    loaded(monkeypatch)
    assert "is not instrumented" not in caplog.text
    assert "COMPILESPAN_FIRST_PID" not in os.environ


def test_a_graph_whose_arguments_cannot_be_read_is_compiled_all_the_same():
    from compilespan.servers.sglang.hooks import Hooks

    hooks = Hooks(SimpleNamespace(), None)
    assert hooks._piece(lambda: "compiled", None, (), {}) == "compiled"
