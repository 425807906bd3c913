"""SPEC's table of states and probes."""

from __future__ import annotations

import itertools
import threading
import time

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from compilespan import get_ledger
from compilespan_service import warmup_router
from compilespan_service.warmups.lifecycle import Lifecycle, ProcessState
from compilespan_service.warmups.policy import Policy

S = ProcessState

# state, settings, startupz, readyz
TABLE = [
    (S.LOADING, {}, False, False),
    (S.LOADING, {"ready_when": "loaded"}, False, False),
    (S.COLD, {}, False, False),
    (S.COLD, {"ready_when": "loaded"}, False, True),
    (S.COLD, {"warmup": "on-request"}, True, False),
    (S.COLD, {"warmup": "on-request", "ready_when": "loaded"}, True, True),
    (S.WARM, {}, True, True),
    (S.NO_TARGETS, {}, True, False),
    (S.LOAD_FAILED, {}, True, False),
    (S.NOT_WARM, {}, True, False),
    (S.NOT_WARM, {"on_warmup_failure": "serve"}, True, True),
    (S.DRAINING, {}, True, False),
    (S.LOADING, {"is_guest": True}, True, True),
    (S.COLD, {"is_guest": True}, True, True),
    (S.NO_TARGETS, {"is_guest": True}, True, True),
    (S.LOAD_FAILED, {"is_guest": True}, True, True),
    (S.NOT_WARM, {"is_guest": True}, True, True),
    (S.DRAINING, {"is_guest": True}, True, False),
]
PATHS = {
    S.LOADING: (),
    S.COLD: (S.COLD,),
    S.WARM: (S.COLD, S.WARM),
    S.NO_TARGETS: (S.NO_TARGETS,),
    S.LOAD_FAILED: (S.LOAD_FAILED,),
    S.NOT_WARM: (S.COLD, S.NOT_WARM),
    S.DRAINING: (S.COLD, S.WARM, S.DRAINING),
}


def at(state, **settings):
    lifecycle = Lifecycle(Policy(**settings))
    for each in PATHS[state]:
        lifecycle.advance(each)
    assert lifecycle.state is state
    return lifecycle


@pytest.mark.parametrize(("state", "settings", "started", "ready"), TABLE)
def test_the_probes_say_what_the_table_says(state, settings, started, ready):
    lifecycle = at(state, **settings)
    assert (lifecycle.is_started, lifecycle.is_ready) == (started, ready)


def test_the_table_has_every_state():
    assert {row[0] for row in TABLE} == set(ProcessState)


@pytest.mark.parametrize(("origin", "goal"), list(itertools.product(S, S)))
def test_readiness_is_never_taken_away_but_by_draining(origin, goal):
    lifecycle = at(origin)
    ready = lifecycle.is_ready
    lifecycle.advance(goal)
    if ready and goal is not S.DRAINING:
        assert lifecycle.is_ready


def test_a_failed_warmup_is_healed_by_a_later_one():
    lifecycle = at(S.NOT_WARM)
    lifecycle.advance(S.WARM)
    assert lifecycle.is_ready


@pytest.mark.parametrize(("state", "settings", "started", "ready"), TABLE)
def test_the_process_is_declared_ready_when_the_probe_is(state, settings, started, ready):
    at(state, **settings)
    declared = get_ledger().readiness.after_s is not None
    # A guest's server declares it itself.
    assert declared == ((ready or state is S.DRAINING) and not settings.get("is_guest", False))


def test_a_slow_exporter_does_not_keep_a_signal_handler_waiting(monkeypatch):
    """Readiness ends the span of the start, which a processor of the program may export at once."""
    exporting, go_on = threading.Event(), threading.Event()

    def export():
        exporting.set()
        assert go_on.wait(20)

    monkeypatch.setattr(get_ledger().readiness, "on_ready", export)
    lifecycle = at(S.COLD)
    thread = threading.Thread(target=lifecycle.advance, args=(S.WARM,))
    thread.start()
    assert exporting.wait(5)
    began = time.monotonic()
    lifecycle.advance(S.DRAINING)
    assert time.monotonic() - began < 5
    go_on.set()
    thread.join()
    assert lifecycle.state is S.DRAINING


def test_a_router_whose_lifespan_no_server_runs_says_so():
    inner, outer = FastAPI(), FastAPI()
    inner.include_router(warmup_router([]))
    outer.mount("/ops", inner)
    with TestClient(outer, base_url="http://127.0.0.1") as client:
        answer = client.get("/ops/readyz")
    assert answer.status_code == 503
    assert "include the router in the outermost app" in answer.json()["detail"]
