"""A router without targets follows the workers, which warm up by themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from compilespan import get_ledger, mark_ready, monitor_torch_compile
from compilespan.journal.writer import open_journal
from compilespan.telemetry.startup import Startup
from compilespan_service import Settings, state, warmup_router
from serving import wait_until


class Worker:
    """A forked process that compiles; it is ready when it is told, and lives until it is killed."""

    def __init__(self, state, *, compiles=True, follows=False):
        read, self._write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                open_journal(state)
                if follows:
                    Startup().begin()
                if compiles:
                    with monitor_torch_compile("model", is_encoder=True, kind="compile"):
                        time.sleep(0.01)
                get_ledger().journal.flush()
                os.read(read, 1)
                get_ledger().mark_ready(by_program=not follows)
                time.sleep(600)
            finally:
                os._exit(0)
        os.close(read)

    def become_ready(self):
        os.write(self._write, b".")

    def kill(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0


@pytest.fixture
def follow(exported, tmp_path):
    """Return a function that serves the endpoints of a follower."""
    open_clients = []

    def start(**settings):
        settings = Settings(state_dir=tmp_path / "state", **settings)
        app = FastAPI()
        router = warmup_router(None, settings=settings, dependencies=[Depends(lambda: None)])
        app.include_router(router)
        client = TestClient(app)
        client.__enter__()
        open_clients.append(client)
        return client

    yield start
    for client in open_clients:
        client.__exit__(None, None, None)
    os.environ.pop("COMPILESPAN_STATE_DIR", None)


@pytest.fixture
def worker(tmp_path):
    """Return a function that starts a worker."""
    started = []

    def start(**options):
        (tmp_path / "state").mkdir(exist_ok=True)
        started.append(Worker(tmp_path / "state", **options))
        return started[-1]

    yield start
    for each in started:
        each.kill()


def health(client, probe="readyz"):
    answer = client.get(f"/{probe}")
    return answer.status_code, answer.json()["detail"]


def test_it_is_ready_when_as_many_workers_as_expected_are(follow, worker):
    client = follow(processes=2)
    assert client.get("/livez").status_code == 200
    wait_until(lambda: health(client) == (503, "0 of 2 processes are ready"))
    first = worker()
    first.become_ready()
    wait_until(lambda: health(client) == (503, "1 of 2 processes are ready"))
    assert client.get("/startupz").status_code == 503
    assert get_ledger().readiness.after_s is None
    second = worker()
    second.become_ready()
    wait_until(lambda: health(client)[0] == 200)
    assert client.get("/startupz").status_code == 200
    assert get_ledger().readiness.after_s is not None


def test_without_a_number_it_waits_for_all_that_compile(follow, worker):
    client = follow()
    wait_until(lambda: health(client) == (503, "0 of 1 processes are ready"))
    first, second = worker(), worker()
    first.become_ready()
    wait_until(lambda: health(client) == (503, "1 of 2 processes are ready"))
    second.become_ready()
    wait_until(lambda: health(client)[0] == 200)


def test_a_process_that_only_imports_torch_is_not_a_worker(follow, worker, tmp_path):
    """Under `compilespan run` each process that imports torch has a journal."""
    client = follow()
    worker(compiles=False)
    wait_until(lambda: len(list((tmp_path / "state").glob("*.jsonl"))) == 2)
    worker().become_ready()
    wait_until(lambda: health(client)[0] == 200)


def test_totals_and_metrics_are_the_workers(follow, worker):
    client = follow(processes=2)
    for _ in range(2):
        worker().become_ready()
    wait_until(lambda: health(client)[0] == 200)
    totals = client.get("/totals").json()
    assert totals["encoder"]["compiles"] == totals["total"]["compiles"] == 2
    assert totals["scope"]["processes"] == 3  # this one, too
    assert totals["ready_after_s"] > 0
    counted = sum(
        sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.name == "torch_compile_duration_seconds_count"
    )
    assert counted == 2


def test_a_worker_that_dies_takes_readiness_away_until_another_one_is_ready(follow, worker):
    client = follow(processes=2)
    first, second = worker(), worker()
    first.become_ready()
    second.become_ready()
    wait_until(lambda: health(client)[0] == 200)
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: health(client)[0] == 503)
    worker().become_ready()
    wait_until(lambda: health(client)[0] == 200)


def test_a_process_that_compiles_itself_is_one_of_the_workers(follow, worker):
    """BentoML's workers hold a model and serve the endpoints."""
    client = follow(processes=2)
    with monitor_torch_compile("model", is_encoder=True, kind="compile"):
        wait_until(lambda: health(client) == (503, "0 of 2 processes are ready"))
    other = worker()
    other.become_ready()
    wait_until(lambda: health(client) == (503, "1 of 2 processes are ready"))
    mark_ready()
    assert health(client)[0] == 200  # it looks again before it says no
    totals = client.get("/totals").json()
    assert totals["total"]["compiles"] == 2
    assert totals["scope"]["processes"] == 2
    assert totals["ready_after_s"] == pytest.approx(get_ledger().readiness.after_s)


def test_a_worker_that_compiles_nothing_is_ready_when_its_program_says_so(follow):
    """It runs eagerly, e.g. with ``TORCH_COMPILE_DISABLE``."""
    client = follow(processes=1)
    wait_until(lambda: health(client) == (503, "0 of 1 processes are ready"))
    mark_ready()
    assert health(client)[0] == 200


def test_what_the_followers_own_process_records_makes_it_no_worker(follow, worker):
    client = follow(processes=2)
    first, second = worker(), worker()
    first.become_ready()
    second.become_ready()
    wait_until(lambda: health(client)[0] == 200)
    with monitor_torch_compile("tokenizer", kind="compile"):
        pass
    second.kill()
    wait_until(lambda: health(client) == (503, "1 of 2 processes are ready"))
    worker().become_ready()
    wait_until(lambda: health(client)[0] == 200)


def test_another_follower_is_no_worker(follow, worker, tmp_path):
    """LitServe may have several servers for its workers."""
    client = follow(processes=2)
    worker().become_ready()
    other = worker(follows=True)
    wait_until(lambda: health(client) == (503, "1 of 2 processes are ready"))
    other.become_ready()
    time.sleep(0.5)
    assert health(client) == (503, "1 of 2 processes are ready")


def test_it_refuses_warmups(follow):
    answer = follow().post("/warmup")
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:compilespan:problem:target-not-found"
    assert "warm up by themselves" in answer.json()["detail"]


SHARED = """
import os
from compilespan_service import Settings, warmup_router
warmup_router(None, settings=Settings(state_dir="state"))
print(os.environ["COMPILESPAN_STATE_DIR"], os.environ["COMPILESPAN_INSTANCE_ID"])
"""


def test_workers_inherit_its_directory_and_its_instance(tmp_path):
    environment = {**os.environ, "COMPILESPAN_INSTANCE_ID": ""}
    printed = subprocess.check_output(
        [sys.executable, "-c", SHARED], cwd=tmp_path, env=environment, text=True
    )
    directory, instance = printed.split()
    assert directory == str(tmp_path / "state")
    assert instance


def test_a_temporary_directory_is_chosen_once(monkeypatch, tmp_path, exported):
    """Another user may have the usual one; each further choice is another directory."""
    chosen = []

    def temporary():
        chosen.append(tmp_path / f"temporary-{len(chosen)}")
        chosen[-1].mkdir()
        return chosen[-1]

    monkeypatch.setattr(state, "temporary_directory", temporary)
    monkeypatch.delenv("COMPILESPAN_STATE_DIR", raising=False)
    app = FastAPI()
    app.include_router(warmup_router(None))
    with TestClient(app):
        assert get_ledger().journal.directory == chosen[0]
    assert len(chosen) == 1
    os.environ.pop("COMPILESPAN_STATE_DIR")


def test_a_follower_ends_while_it_waits(follow):
    client = follow(processes=2)
    wait_until(lambda: health(client)[0] == 503)
    began = time.monotonic()
    client.__exit__(None, None, None)
    assert time.monotonic() - began < 10
    client.__enter__()  # for the fixture
