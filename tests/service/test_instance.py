"""Several workers of one instance, as one of them sees the others."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from compilespan import get_ledger
from compilespan_service.reading.instance import expected_processes
from compilespan_service.reading.readings import Readings
from serving import Model, wait_until

WORKER = """
import sys
from compilespan import mark_ready, monitor_torch_compile
from compilespan.journal.writer import open_journal
from compilespan.telemetry.startup import Startup

open_journal()
Startup().begin()
print("serves", flush=True)
for line in sys.stdin:
    what, _, times = line.strip().partition(" ")
    if what == "compile":
        for _ in range(int(times or 1)):
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
    assert client.post("/warmup?wait=60").status_code == 200
    wait_until(lambda: client.get("/warmup").json()["processes"] == "1 of 2")
    unready = client.get("/readyz")
    assert unready.status_code == 503
    assert unready.json()["detail"] == "1 of 2 processes are ready"
    assert client.get("/totals").json()["ready_after_s"] is None
    assert ready_metric(client) == 0
    worker("ready")
    assert client.get("/readyz").status_code == 200  # it looks again before it says no
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


def test_requests_that_read_at_once_lose_and_repeat_nothing(serve, worker):
    """A journal is read on while another request adds it up."""
    serve(Model())
    readings = Readings(None, lambda: False)
    readings.open()
    readings.start()
    accounts, exposition = readings.accounts, readings.exposition()
    over = threading.Event()

    def read(what):
        while not over.is_set():
            what()

    readers = [
        lambda: accounts.totals("instance"),
        lambda: accounts.compiles({}, 4096),
        accounts.traced,
        lambda: exposition.render(""),
        readings.instance.in_progress,
        readings.history.starts,
    ]
    with ThreadPoolExecutor(len(readers)) as pool:
        futures = [pool.submit(read, what) for what in readers]
        for _ in range(15):
            worker("compile 100")
        over.set()
        for future in futures:
            future.result()
    # A reader that is behind says so (`complete`); now it has time.
    wait_until(lambda: accounts.totals("instance").total.compiles == 1500)
    text = exposition.render("")[0].decode()
    (count,) = re.findall(r"^torch_compile_duration_seconds_count.* ([\d.]+)$", text, re.MULTILINE)
    assert float(count) == 1500


def test_who_says_ready_has_written_so_before(serve):
    """The next request may come to another worker, which reads it."""
    client = serve(Model())
    client.post("/warmup?wait=60")
    assert client.get("/readyz").status_code == 200
    lines = get_ledger().journal.path.read_text().splitlines()
    assert "ready" in {json.loads(line)["type"] for line in lines}


def test_workers_that_are_still_to_come_are_waited_for(serve):
    client = serve(Model(), processes=3)
    client.post("/warmup?wait=60")
    assert client.get("/readyz").json()["detail"] == "1 of 3 processes are ready"


@pytest.mark.parametrize(
    ("told", "count"), [("5", 5), ("1", 1), ("0", None), ("many", None), ("", None), (None, None)]
)
def test_how_many_workers_there_are_to_be(monkeypatch, told, count):
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    if told is not None:
        monkeypatch.setenv("WEB_CONCURRENCY", told)
    assert expected_processes() == count
