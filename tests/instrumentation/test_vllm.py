"""The door to vLLM without vLLM; `tests/vllm` starts the real one."""

from __future__ import annotations

import enum
import json
import os
import sys
import threading
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import compilespan.servers.vllm
from compilespan import get_ledger, monitor_torch_compile, semconv
from compilespan.dynamo.graphs import GraphWatch
from compilespan.journal.directory import StateDirectory
from compilespan.journal.writer import open_journal
from compilespan.monitor.unit import Unit
from compilespan.monitor.window import Window
from compilespan.servers import activation
from compilespan.servers.starting import Starting
from compilespan.servers.vllm import monitors
from compilespan.servers.vllm.captures import Captures
from compilespan.servers.vllm.engine import Engine
from compilespan.servers.vllm.factors import why_missed
from compilespan.servers.vllm.ray import RayActors
from compilespan.servers.vllm.server import Server


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(activation, "_entered", {})
    monkeypatch.setattr(sys, "argv", ["vllm", "serve"])


@pytest.mark.parametrize(
    ("environment", "arguments", "configured"),
    [
        ({}, [], False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"}, [], True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4317"}, [], True),
        ({"COMPILESPAN_STATE_DIR": "/tmp/x"}, [], True),
        ({}, ["--otlp-traces-endpoint=http://c:4317"], True),
        ({}, ["--middleware", "compilespan_service.vllm.CompileRoutes"], True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, [], False),
        ({"COMPILESPAN_INSTANCE_ID": "of-a-parent"}, [], False),
        ({"OTEL_TRACES_EXPORTER": "console"}, [], True),
        ({"OTEL_TRACES_EXPORTER": "none"}, [], False),
    ],
)
def test_it_takes_part_where_somebody_would_see_it(monkeypatch, environment, arguments, configured):
    monkeypatch.delenv("COMPILESPAN_INSTANCE_ID", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["vllm", "serve", *arguments])
    assert activation.is_configured() is configured


def test_a_fault_of_ours_keeps_no_process_of_vllm_from_starting(monkeypatch, caplog):
    def broken():
        raise RuntimeError("ours")

    monkeypatch.setattr(activation, "is_configured", broken)
    compilespan.servers.vllm.install()
    assert "this vLLM process is not instrumented" in caplog.text
    assert not compilespan.servers.vllm.takes_part()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_load_of_what_is_there_is_in_progress_from_its_begin(tmp_path, is_there):
    path = tmp_path / "model"
    if is_there:
        path.write_text("an artefact")
    seen = []

    @contextmanager
    def monitor_torch_compile(
        vllm_config, message="", is_encoder=False, tag="", announce_start=True
    ):
        yield

    def _try_load_aot_compiled_fn(model, aot_compilation_path):
        with watch._monitor(
            monitor_torch_compile, None, (None,), {"tag": "backbone", "announce_start": False}
        ):
            seen.extend(get_ledger().active.now())

    watch = monitors.Monitors(GraphWatch())
    watch._load(_try_load_aot_compiled_fn, None, (None, str(path)), {})
    assert [begun.name for begun in seen] == ["backbone"] * is_there


class Mode(enum.Enum):
    NONE = 0
    FULL = 1


class VisionTower:
    """Stands for a model; its runner needs a GPU."""


@pytest.mark.parametrize("is_encoder", [False, True])
def test_the_cudagraphs_of_a_model_are_one_capture(is_encoder):
    runner = SimpleNamespace(
        compilation_config=SimpleNamespace(cudagraph_mode=Mode.FULL), model=VisionTower()
    )
    captures = Captures()
    wrapper = captures._encoder if is_encoder else captures._model
    assert wrapper(lambda: 12, runner, (), {}) == 12
    (record,) = get_ledger().records()
    assert (record.name, record.kind, record.trigger) == (
        "VisionTower cudagraphs",
        "capture",
        "cudagraph",
    )
    assert record.is_encoder is is_encoder
    assert get_ledger().totals().total.captures == 1
    with pytest.raises(ZeroDivisionError):
        wrapper(lambda: 1 / 0, runner, (), {})
    assert get_ledger().records()[1].outcome == "failed"


def test_where_no_cudagraphs_are_wanted_there_is_no_capture():
    runner = SimpleNamespace(compilation_config=SimpleNamespace(cudagraph_mode=Mode.NONE))
    assert Captures()._model(lambda: 0, runner, (), {}) == 0
    assert get_ledger().records() == ()


class Began:
    """A ``startup`` span that remembers how it ended."""

    def __init__(self):
        self.ended = []

    def end(self, outcome, why=None):
        self.ended.append((outcome, why))


@pytest.fixture
def engine(monkeypatch):
    monkeypatch.setattr("compilespan.servers.starting._report", lambda: None)
    return Engine(Starting(None))


def test_a_process_with_a_client_is_ready_and_has_a_journal(engine, monkeypatch, tmp_path):
    """Also where it is not the first: one of several API servers."""
    monkeypatch.setenv("COMPILESPAN_STATE_DIR", str(tmp_path))
    assert engine._started(lambda: "client", None, (), {}) == "client"
    assert get_ledger().readiness.ready is not None
    assert get_ledger().journal.flush()
    (process,) = StateDirectory(tmp_path).processes()
    assert process.ready is not None


def test_the_start_of_several_servers_is_over_when_their_engines_are_ready(engine):
    @contextmanager
    def launch_core_engines(_):
        yield "launched"

    with engine._launched(launch_core_engines, None, ("config",), {}) as launched:
        assert launched == "launched"
        assert get_ledger().readiness.ready is None  # they are about to start
    assert get_ledger().readiness.ready is not None


@pytest.mark.parametrize("within", [False, True])
def test_an_engine_that_does_not_start_ends_the_start_as_failed(monkeypatch, within):
    """Whether it is the launch that fails, or an API server beside it."""
    monkeypatch.setattr("compilespan.servers.starting._flush", lambda: None)
    startup = Began()

    @contextmanager
    def launch_core_engines():
        yield
        if not within:
            raise RuntimeError("no memory")

    def launch():
        with Engine(Starting(startup))._launched(launch_core_engines, None, (), {}):
            if within:
                raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        launch()
    assert startup.ended == [("failed", "RuntimeError: no memory")]
    assert get_ledger().readiness.ready is None


@pytest.mark.parametrize(("failed", "reason"), [(None, "exit"), ("EngineCore_DP0", "failed")])
def test_a_server_whose_engine_died_did_not_just_exit(engine, tmp_path, failed, reason):
    journal = open_journal(tmp_path)
    manager = SimpleNamespace(failed_proc_name=failed)
    engine._watched(lambda: None, manager, (), {})
    journal.close()
    (process,) = StateDirectory(tmp_path).processes()
    assert process.exit_reason == reason


def test_a_start_that_failed_did_not_just_exit_unless_the_next_one_goes_well(
    engine, monkeypatch, tmp_path
):
    monkeypatch.setattr("compilespan.servers.starting._flush", lambda: None)
    journal = open_journal(tmp_path)
    with pytest.raises(ZeroDivisionError):
        Engine(Starting(Began()))._started(lambda: 1 / 0, None, (), {})
    assert journal.end_reason == "failed"
    engine._started(lambda: None, None, (), {})
    assert journal.end_reason == "exit"


def test_one_block_of_a_start_in_another_ends_it_once(monkeypatch):
    reported = []
    monkeypatch.setattr("compilespan.servers.starting._report", lambda _: reported.append(1))
    monkeypatch.setattr("atexit.register", lambda _: None)
    engine = Engine(Starting(Began()))
    engine._started(lambda: engine._started(lambda: None, None, (), {}), None, (), {})
    for thread in threading.enumerate():
        if thread.name == "compilespan-start":
            thread.join()
    assert reported == [1]


@pytest.mark.parametrize(
    ("args", "kwargs"), [((("embed",),), {}), ((), {"supported_tasks": ("embed",)})]
)
def test_our_endpoints_are_appended_to_those_of_others(args, kwargs):
    def load_endpoint_plugins(_=None, supported_tasks=None):
        return ["theirs"]

    server = Server(lambda tasks: ("ours", tasks))
    assert server._load(load_endpoint_plugins, None, args, kwargs) == [
        "theirs",
        ("ours", ("embed",)),
    ]
    assert server._load(load_endpoint_plugins, None, (), {}) == ["theirs", ("ours", ())]
    assert Server(lambda _: 1 / 0)._load(load_endpoint_plugins, None, (), {}) == ["theirs"]


def test_rays_actors_are_told_what_this_process_was_told(monkeypatch):
    ours = ("COMPILESPAN_STATE_DIR", "OTEL_SERVICE_NAME", "TRACEPARENT", "traceparent")
    for name in (*ours, "HOME"):
        monkeypatch.setenv(name, "x")
    found = RayActors()._names(lambda **_: {"VLLM_X"}, None, (), {"destination": "workers"})
    assert {"VLLM_X", *ours} <= found
    assert "HOME" not in found
    assert RayActors()._names(lambda: None, None, (), {}) is None  # not a set: theirs stays


def test_a_tentative_monitor_that_fails_leaves_nothing(exported):
    unit = Unit("backbone", "aot_load", kind="load", stated="language_model", tentative=True)
    window = Window(unit)
    window.__enter__()
    assert get_ledger().active.now() == ()
    window.close(error=FileNotFoundError("no artefact"))
    assert get_ledger().records() == ()
    assert exported.spans == []
    assert get_ledger().active.now() == ()


LOAD = Unit("backbone", "aot_load", kind="load", stated="encoder", tentative=True)


def test_one_that_finds_something_is_seen_from_then_on_with_all_its_time(exported):
    window = Window(LOAD)
    window.__enter__()
    assert get_ledger().active.now() == ()
    window.monitor.add_event("torch.compile.nested", {"torch.compile.name": "Model"})
    (begun,) = get_ledger().active.now()
    assert (begun.name, begun.is_encoder) == ("backbone", True)
    window.close()
    assert get_ledger().active.now() == ()
    (span,), (record,) = exported.compiles, get_ledger().records()
    assert begun.start_ns == record.start_ns
    assert (record.kind, record.outcome, record.is_encoder) == ("load", "ok", True)
    assert span.start_time == record.start_ns
    assert span.end_time == record.end_ns
    (event,) = span.events
    assert event.timestamp == record.events[0].time_ns
    assert record.start_ns <= event.timestamp <= record.end_ns
    # From metric to trace, although the span was never current.
    ((exemplar,),) = exported.exemplars("torch.compile.duration")
    assert exemplar.span_id == span.context.span_id


def test_one_that_ends_well_without_a_sign_is_a_load_too(exported):
    with Window(LOAD):
        pass
    (record,) = get_ledger().records()
    assert (record.kind, record.outcome) == ("load", "ok")
    assert len(exported.compiles) == 1


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (ValueError("bad magic number"), False),
        (PermissionError("not yours"), False),
        (RuntimeError("no such kernel"), True),
        (FileNotFoundError("a part of it"), True),
    ],
)
def test_what_is_there_and_cannot_be_loaded_is_a_failed_load(exported, error, found):
    window = Window(LOAD)
    window.__enter__()
    if found:
        window.monitor.add_event("torch.compile.nested", {"torch.compile.name": "Model"})
    window.close(error=error)
    (record,), (span,) = get_ledger().records(), exported.compiles
    assert (record.kind, record.outcome) == ("load", "failed")
    assert record.error_type == type(error).__name__
    assert not span.status.is_ok
    total = get_ledger().totals().total
    assert (total.failed, total.loads, total.failed_s) == (1, 0, record.duration_s)
    assert get_ledger().active.now() == ()


class OlderMonitor:
    """vLLM 0.31's: it does not say whether it looks for an artefact."""

    def __call__(self, vllm_config, is_encoder=False):
        return nullcontext()


def test_an_older_monitor_that_looks_in_vain_fails_no_compile(instrumented, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(__version__="0.31.9"))
    exported = instrumented
    monitors._say_version.cache_clear()
    hooks, older = monitors.Monitors(GraphWatch()), OlderMonitor().__call__
    for _ in range(2):
        with suppress(FileNotFoundError), hooks._monitor(older, None, (object(),), {}):
            raise FileNotFoundError
    assert get_ledger().records() == ()
    assert exported.spans == []
    with hooks._monitor(older, None, (object(),), {"is_encoder": True}):
        torch.compile(torch.nn.Linear(2, 2), backend="eager")(torch.zeros(1, 2))
    (record,) = get_ledger().records()
    assert (record.kind, record.is_encoder, record.trigger) == ("compile", True, "explicit")
    said = [each for each in caplog.messages if "tested with vLLM 0.32; this is 0.31.9" in each]
    assert len(said) == 1


@pytest.mark.parametrize("is_there", [True, False])
def test_an_older_monitor_is_a_load_where_vllm_looks_for_an_artefact(exported, tmp_path, is_there):
    path = tmp_path / "model"
    if is_there:
        path.write_text("an artefact")
    hooks, older = monitors.Monitors(GraphWatch()), OlderMonitor().__call__

    def _try_load_aot_compiled_fn(model, aot_compilation_path):
        with hooks._monitor(older, None, (object(),), {}):
            if not is_there:
                raise FileNotFoundError

    with suppress(FileNotFoundError):
        hooks._load(_try_load_aot_compiled_fn, None, (None, str(path)), {})
    kinds = [(each.kind, each.trigger, each.outcome) for each in get_ledger().records()]
    assert kinds == [("load", "aot_load", "ok")] * is_there


@pytest.mark.parametrize(
    ("compiled", "disabled", "torchs", "told"),
    [
        (False, False, None, "hit"),
        (True, False, "bypass", "miss"),
        (True, False, None, "miss"),
        (True, False, "hit", "hit"),
        (True, True, None, "bypass"),
        (True, True, "miss", "miss"),
    ],
)
def test_a_graph_that_vllm_stores_is_no_bypass(compiled, disabled, torchs, told):
    manager = SimpleNamespace(disable_cache=disabled)
    after = (1, 1) if compiled else (0, 0)
    assert monitors._cache_result(manager, (0, 0), after, torchs) == told


@pytest.mark.parametrize(("stored", "told"), [(True, "miss"), (False, "bypass")])
def test_what_torchs_caches_bypass_and_vllm_stores_is_a_miss(stored, told, exported):
    unit = Unit("backbone", "explicit", kind=None, is_stored=stored)
    with Window(unit) as monitor:
        monitor.add_event(semconv.EVENT_GRAPH, {semconv.CACHE_RESULT: "bypass"})
    (record,) = get_ledger().records()
    assert record.cache_result == told


def piece(wrapped, cache_result):
    """Compile one piece inside a block, as vLLM's backend does; returns its graph events."""
    watch = GraphWatch()
    with monitor_torch_compile("backbone"):
        with suppress(ValueError):
            watch.around_piece(wrapped, (), {}, None, {semconv.GRAPH_INDEX: 7}, cache_result)
        assert not watch.in_piece
    (record,) = get_ledger().records()
    return [event.attributes for event in record.events]


def test_a_piece_is_told_once_with_what_the_backend_knows(exported):
    watch = GraphWatch()

    def compiled():
        watch.around(lambda _: None, (None,), {})  # torch tells of the same piece from inside
        return "compiled"

    with monitor_torch_compile("backbone"):
        result = watch.around_piece(
            compiled, (), {}, None, {semconv.GRAPH_INDEX: 7}, lambda overheard: overheard or "miss"
        )
    assert result == "compiled"
    (record,) = get_ledger().records()
    assert [event.attributes for event in record.events] == [
        {semconv.GRAPH_INDEX: 7, semconv.CACHE_RESULT: "miss"}
    ]


def test_a_piece_that_fails_is_no_cache_hit(exported):
    def fails():
        raise ValueError("no kernel")

    assert piece(fails, lambda _: "hit") == [{semconv.GRAPH_INDEX: 7}]


def test_a_fault_of_ours_fails_no_piece(exported):
    def broken(_):
        raise TypeError("ours")

    assert piece(lambda: None, broken) == [{semconv.GRAPH_INDEX: 7}]


@pytest.fixture
def vllm_cache(tmp_path):
    """Return a function that makes a cache directory of vLLM, and returns its path."""
    same = {"config_hash": "c", "compiler_hash": "p", "code_hash": "k"}

    def make(name, *, is_earlier=True, **factors):
        directory = tmp_path / "torch_compile_cache" / name / "rank_0_0" / "backbone"
        directory.mkdir(parents=True)
        file = directory / "cache_key_factors.json"
        file.write_text(json.dumps({"env": {"VLLM_X": 1}, **same, **factors}))
        if is_earlier:
            os.utime(file, (1, 1))
        return str(directory)

    return make


@pytest.mark.parametrize(
    ("factors", "why"),
    [
        ({"env": {"VLLM_X": 1, "VLLM_PORT": 7}}, "environment `VLLM_PORT`"),
        ({"env": {}, "code_hash": "other"}, "environment `VLLM_X`, code of the model"),
        ({"config_hash": "other"}, "vLLM's configuration"),
        ({"compiler_hash": "other"}, "compiler or its configuration"),
        ({"env": {f"V{n}": n for n in range(20)}}, "environment `V0`, "),
    ],
)
def test_a_miss_of_vllms_cache_names_the_factor(vllm_cache, factors, why):
    vllm_cache("0000", env={"secret": "other"}, config_hash="x", code_hash="y")
    vllm_cache("1111")
    own = vllm_cache("2222", is_earlier=False, **factors)
    assert why_missed(own).startswith(why)
    assert "secret" not in why_missed(own)


def test_what_is_not_known_of_vllms_cache_is_not_said(vllm_cache, tmp_path):
    own = vllm_cache("2222", is_earlier=False)
    vllm_cache("3333", is_earlier=False, code_hash="of this start")
    torn = Path(vllm_cache("4444", code_hash="x"))
    (torn / "cache_key_factors.json").write_text("{")
    os.utime(torn / "cache_key_factors.json", (1, 1))
    assert why_missed(own) is None
    assert why_missed(str(tmp_path / "a/b/c/d")) is None


def test_a_piece_that_missed_says_why(exported):
    watch = GraphWatch()
    for result in ("miss", "hit"):
        with monitor_torch_compile("backbone"):
            watch.around_piece(lambda: None, (), {}, None, {}, lambda _, r=result: r, lambda: "x")
    missed, hit = [record.events[0].attributes for record in get_ledger().records()]
    assert missed[semconv.CACHE_MISS_REASON] == "x"
    assert semconv.CACHE_MISS_REASON not in hit
