"""Several workers of one instance, as one of them sees the others."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from compilespan_service.instance import expected_processes
from serving import Model

WORKER = """
import sys
from compilespan import mark_ready, monitor_torch_compile
from compilespan.journal import open_journal
from compilespan.startup import Startup

open_journal()
Startup().begin()
print("serves", flush=True)
for line in sys.stdin:
    if line.strip() == "compile":
        with monitor_torch_compile("LlamaModel", kind="compile"):
            pass
    else:
        mark_ready()
    from compilespan import get_ledger
    get_ledger().journal.flush()
    print("done", flush=True)
"""


@pytest.fixture
def worker(tmp_path):
    """Another worker of this instance; yields a function that tells it what to do."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER],
        env={**os.environ, "COMPILESPAN_STATE_DIR": str(tmp_path / "state")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()

    def do(what):
        process.stdin.write(f"{what}\n")
        process.stdin.flush()
        process.stdout.readline()

    yield do
    process.kill()
    process.communicate()


def ready_metric(client):
    (line,) = [
        line
        for line in client.get("/metrics").text.splitlines()
        if line.startswith("compilespan_ready")
    ]
    return float(line.split()[-1])


def test_readyz_needs_every_worker_and_says_how_many_are(serve, worker):
    client = serve(Model())
    assert client.post("/warmup?wait=60").json()["processes"] == "1 of 2"
    unready = client.get("/readyz")
    assert unready.status_code == 503
    assert unready.json()["detail"] == "1 of 2 processes are ready"
    assert client.get("/totals").json()["ready_after_s"] is None
    assert ready_metric(client) == 0
    worker("ready")
    assert client.get("/readyz").status_code == 200
    assert client.get("/totals").json()["ready_after_s"] is not None
    assert ready_metric(client) == 1


def test_what_another_worker_compiled_is_in_totals_compiles_and_metrics_once(serve, worker):
    client = serve(Model())
    worker("compile")
    for _ in range(2):
        assert client.get("/totals").json()["total"]["compiles"] == 1
        assert client.get("/totals?scope=process").json()["total"]["compiles"] == 0
        assert [each["name"] for each in client.get("/compiles").json()] == ["LlamaModel"]
        counts = [
            line
            for line in client.get("/metrics").text.splitlines()
            if line.startswith("torch_compile_duration_seconds_count")
        ]
        assert [float(line.split()[-1]) for line in counts] == [1.0]


def test_workers_that_are_still_to_come_are_waited_for(serve):
    client = serve(Model(), processes=3)
    client.post("/warmup?wait=60")
    assert client.get("/readyz").json()["detail"] == "1 of 3 processes are ready"


@pytest.mark.parametrize(
    ("argv", "environment", "count"),
    [
        (["/usr/bin/uvicorn", "app:app", "--workers", "4"], {}, 4),
        (["/x/uvicorn/__main__.py", "app:app", "--workers=2"], {}, 2),
        (["/usr/bin/gunicorn", "-w", "3", "app:app"], {}, 3),
        (["/usr/bin/uvicorn", "app:app"], {"WEB_CONCURRENCY": "5"}, 5),
        (["train.py", "--workers", "8"], {}, None),
        (["/usr/bin/uvicorn", "--workers", "many"], {}, None),
        (["/usr/bin/uvicorn", "app:app"], {}, None),
    ],
)
def test_how_many_workers_there_are_to_be(monkeypatch, argv, environment, count):
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    monkeypatch.setattr(sys, "argv", argv)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert expected_processes() == count
