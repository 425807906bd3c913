"""The table of states and probes, row by row, over real processes.

Draining is not among them: uvicorn closes its port before anybody could ask; `test_lifecycle` has
that row.
"""

from __future__ import annotations

from contextlib import suppress

import pytest
from server import Server

pytestmark = pytest.mark.system


def probes(server):
    answers = [server.client.get(path) for path in ("/livez", "/startupz", "/readyz")]
    for answer in answers:
        body = answer.json()
        assert body["phase"] in ("startup", "warmup", "serving")
        assert body["elapsed_s"] > 0
    return tuple(answer.status_code for answer in answers)


def state(server):
    return server.client.get("/livez").json()["state"]


def over(server):
    return server.client.get("/warmup").json().get("ended_at")  # there may be no job yet


def compiling(server):
    return server.client.get("/totals").json()["in_progress"]


def loaded(server):
    return state(server) != "loading"


def cancel_when_compiling(server):
    server.wait_for(lambda: compiling(server))
    server.client.delete(f"/warmup/jobs/{server.client.get('/warmup').json()['id']}")
    server.hold.unlink()
    server.wait_for(lambda: over(server))
    return True


ROWS = [
    # what it is, factory, options, what to wait for, and livez, startupz, readyz then
    ("loading", "slow_to_import", (), lambda _: True, (200, 503, 503)),
    ("cold, warming", "held", (), compiling, (200, 503, 503)),
    ("cold, warming", "held", ("--ready-when", "loaded"), compiling, (200, 503, 200)),
    ("cold", "net2", ("--warmup", "on-request"), loaded, (200, 200, 503)),
    (
        *("cold", "net2", ("--warmup", "on-request", "--ready-when", "loaded")),
        *(loaded, (200, 200, 200)),
    ),
    ("warm", "net2", (), over, (200, 200, 200)),
    ("no target", "nothing", (), loaded, (200, 200, 503)),
    ("loading failed", "raises", (), loaded, (200, 200, 503)),
    ("loading failed", "none", (), loaded, (200, 200, 503)),
    ("loading failed", "twice", (), loaded, (200, 200, 503)),
    ("failed", "failing", (), over, (200, 200, 503)),
    ("failed, serve", "failing", ("--on-warmup-failure", "serve"), over, (200, 200, 200)),
    ("timed out", "held", ("--budget-s", "1"), over, (200, 200, 503)),
    ("cancelled", "held", (), cancel_when_compiling, (200, 200, 503)),
    ("not warm", "eager", (), over, (200, 200, 503)),
    ("not warm, serve", "eager", ("--on-warmup-failure", "serve"), over, (200, 200, 200)),
    ("target raised SystemExit", "exits", (), over, (200, 200, 503)),
]


@pytest.mark.parametrize(
    ("factory", "options", "condition", "expected"),
    [row[1:] for row in ROWS],
    ids=[" ".join((row[0], *row[2])) for row in ROWS],
)
def test_probes(factory, options, condition, expected, hold):
    env = {"HOLD": str(hold), "FAIL": str(hold)}
    with Server(f"eager_targets:{factory}", *options, env=env) as server:
        server.hold = hold
        server.wait_for(lambda: condition(server))
        assert probes(server) == expected
        with suppress(FileNotFoundError):
            hold.unlink()


def test_warm_it_stays_ready_while_a_later_job_runs(hold):
    hold.unlink()
    with Server("eager_targets:waits", env={"HOLD": str(hold)}) as server:
        server.wait_for(lambda: probes(server) == (200, 200, 200))
        hold.write_text("")
        job = server.client.post("/warmup", json={"force": True}).json()
        job_url = f"/warmup/jobs/{job['id']}"
        server.wait_for(lambda: server.client.get(job_url).json()["state"] == "running")
        assert probes(server) == (200, 200, 200)
        assert server.client.get(job_url).json()["state"] == "running"
        assert server.client.get("/livez").json()["phase"] == "warmup"
        hold.unlink()


@pytest.mark.parametrize("factory", ["failing", "eager"])
def test_exit_ends_the_process_with_3(factory, tmp_path):
    flag = tmp_path / "fail"
    flag.write_text("")
    options = ("--on-warmup-failure", "exit")
    with Server(f"eager_targets:{factory}", *options, env={"FAIL": str(flag)}) as server:
        assert server.process.wait(60) == 3
