"""Several workers of one server: uvicorn's are spawned, gunicorn's are forked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from server import free_port

pytestmark = pytest.mark.system

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
KEY = {"X-Key": "secret"}
COMMANDS = {
    "uvicorn": lambda port: ["uvicorn", "own_server:app", "--port", str(port)],
    "gunicorn": lambda port: [
        *("gunicorn", "own_server:app"),
        *("--worker-class", "asgi", "--bind", f"127.0.0.1:{port}"),
    ],
}


@pytest.fixture(params=COMMANDS)
def workers(request, tmp_path):
    """Start the example with two workers; yields a function that asks one of them."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", *COMMANDS[request.param](port)],
        cwd=EXAMPLES,
        env={
            **os.environ,
            "BACKEND": "eager",
            "WEB_CONCURRENCY": "2",
            "COMPILESPAN_INSTANCE_ID": "",
            "COMPILESPAN_STATE_DIR": str(tmp_path / "state"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def get(path, **options):
        # A connection each, so that the kernel chooses a worker each time.
        return httpx.get(f"http://127.0.0.1:{port}{path}", headers=KEY, timeout=60, **options)

    get.process = process
    output = ""
    try:
        yield get
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            if process.returncode is None:
                output = process.communicate(timeout=20)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            output = process.communicate()[0]
            pytest.fail(f"did not end:\n{output}")
    assert "Traceback" not in output, output


def status(get, path):
    try:
        return get(path).status_code
    except httpx.TransportError:
        return None


def wait_ready(get):
    """Wait for readyz; return how often each status was seen on the way."""
    seen = {}
    deadline = time.monotonic() + 90
    while (code := status(get, "/ops/readyz")) != 200:
        seen[code] = seen.get(code, 0) + 1
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return seen


def samples(text):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_workers_are_one_instance_ready_together_and_counted_once(workers):
    wait_ready(workers)
    # Ready is said when both are, by whichever is asked.
    assert [status(workers, "/ops/readyz") for _ in range(20)] == [200] * 20
    answers = [workers("/ops/totals").json() for _ in range(20)]
    assert len({answer["scope"]["instance"] for answer in answers}) == 1
    assert {answer["scope"]["processes"] for answer in answers} == {2}
    # Two workers, two shapes each, the second a recompile.
    assert {answer["total"]["compiles"] for answer in answers} == {4}
    assert {answer["total"]["recompiles"] for answer in answers} == {2}
    assert all(len(answer["by_process"]) == 2 for answer in answers)
    assert len({answer["total"]["compile_s"] for answer in answers}) == 1
    processes = {workers("/ops/totals?scope=process").json()["total"]["compiles"] for _ in range(9)}
    assert processes == {2}
    assert workers("/ops/warmup").json()["processes"] == "1 of 2"


def test_a_server_that_is_stopped_says_so_in_its_journals(workers, tmp_path):
    """Otherwise the next start would report that this one died."""
    wait_ready(workers)
    workers.process.send_signal(signal.SIGTERM)
    workers.process.communicate(timeout=20)
    journals = list((tmp_path / "state").glob("*.jsonl"))
    reasons = [
        line["reason"]
        for path in journals
        for line in map(json.loads, path.read_text().splitlines())
        if line["type"] == "exit"
    ]
    assert reasons == ["shutdown"] * len(journals)
    assert len(journals) >= 2


def test_nothing_goes_backwards_over_20_scrapes_while_both_compile(workers):
    wait_ready(workers)
    before = {}
    for batch in range(20, 40):
        workers("/predict", params={"batch": batch})  # compiles, in one of the two
        now = samples(workers("/ops/metrics").text)
        for key, value in before.items():
            if key[0].endswith(("_total", "_count", "_sum", "_bucket")):
                assert now[key] >= value, key
        before = now
    compiled = sum(
        value
        for (name, _), value in before.items()
        if name == "torch_compile_duration_seconds_count"
    )
    records = workers("/ops/compiles").json()
    assert compiled == len(records)
    serving = [r for r in records if r["phase"] == "serving" and r["outcome"] == "ok"]
    assert (
        len(serving) >= 6
    )  # the kernel may choose one worker for all; it compiles until the limit
    assert all(each["is_recompile"] for each in serving)
    assert all(each["recompile_reason"] for each in serving)
