"""What a start was made of, on five real programs, against their own stopwatches."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import time

import httpx
import pytest
from server import TARGETS, Server, free_port

pytestmark = pytest.mark.system

CLI = [sys.executable, "-m", "compilespan_service.cli"]
MEASURE = """
import json, os, sys, time
measured = {"import": 0.0, "load": 0.0, "compile": 0.0}
began = time.perf_counter()
def lap(part):
    global began
    now = time.perf_counter()
    measured[part] += now - began
    began = now
    open(os.environ["MEASURED"], "w").write(json.dumps(measured))
def slow(graph_module, _):
    time.sleep(2)
    return graph_module.forward
import atexit
atexit.register(lambda: open(os.environ["ENDED"], "w").write(str(time.time())))
"""
ONE_PROCESS = """
import torch._dynamo
model = torch.compile(torch.nn.Linear(4, 4), backend=slow)  # imports the rest of torch
lap("import")
time.sleep(1.5)
lap("load")
model(torch.zeros(2, 4))
lap("compile")
"""
A_CHILD_COMPILES = """
def work():
    global began
    began = time.perf_counter()
    import torch._dynamo
    model = torch.compile(torch.nn.Linear(4, 4), backend=slow)
    lap("import")
    time.sleep(1.5)
    lap("load")
    model(torch.zeros(2, 4))
    lap("compile")
if __name__ == "__main__":
    import multiprocessing
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
"""


@pytest.fixture
def measured(tmp_path):
    path = tmp_path / "measured.json"
    path.write_text("{}")
    return path


def agrees(parts, measured, whole_s, teardown_s=0.0):
    """Compare with the program's own stopwatch; what Python needs to end is other."""
    assert sum(parts.values()) == pytest.approx(whole_s, abs=1e-6)
    for part, seconds in json.loads(measured.read_text()).items():
        assert parts[part] == pytest.approx(seconds, rel=0.05, abs=0.05), part
    assert parts.get("other", 0.0) - teardown_s <= 0.1 * whole_s


def shown_load_s(output):
    return float(re.search(r" · load (\d+\.\d+) s", output)[1])


def server_agrees(totals, start, measured):
    """Compare a server's: what it imports for itself is not on the program's stopwatch."""
    assert start["start"] == pytest.approx(totals["start"])
    theirs = sum(start["imports"].get(name, 0.0) for name in ("torch", "transformers"))
    ours = totals["start"]["import"] - theirs
    assert 0 <= ours < totals["ready_after_s"] / 2
    parts = {**totals["start"], "import": theirs, "ours": ours}
    agrees(parts, measured, totals["ready_after_s"])


@pytest.mark.parametrize("code", [ONE_PROCESS, A_CHILD_COMPILES])
def test_a_program_under_run(tmp_path, measured, code):
    program = tmp_path / "program.py"
    program.write_text(MEASURE + textwrap.dedent(code))
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [*CLI, "run", "--json", str(figures), "--", sys.executable, str(program)],
        env={**os.environ, "MEASURED": str(measured), "ENDED": str(tmp_path / "ended")},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    teardown_s = time.time() - float((tmp_path / "ended").read_text())
    found = json.loads(figures.read_text())
    agrees(found["start"], measured, found["wall_s"], teardown_s)
    line = next(line for line in done.stderr.splitlines() if " · load " in line)
    assert "import " in line
    assert "(torch " in line
    assert shown_load_s(line) == pytest.approx(found["start"]["load"], abs=0.01)
    assert " · compiling 2." in line


def parts_of(tmp_path, code):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(code))
    figures = tmp_path / "figures.json"
    subprocess.run(
        [*CLI, "run", "--json", str(figures), "--", sys.executable, str(program)],
        capture_output=True,
        timeout=120,
        check=False,
    )
    found = json.loads(figures.read_text())
    assert sum(found["start"].values()) == pytest.approx(found["wall_s"], abs=1e-6)
    return found["start"]


def test_what_a_killed_process_compiled_ends_with_its_last_sign_of_life(tmp_path):
    parts = parts_of(
        tmp_path,
        """
        import os, signal, time
        import torch
        from compilespan import monitor_torch_compile
        if os.fork() == 0:
            with monitor_torch_compile("child", kind="compile"):
                time.sleep(2.5)
                os.kill(os.getpid(), signal.SIGKILL)
        os.wait()
        time.sleep(4)
        """,
    )
    assert 1.0 <= parts["compile"] <= 2.8
    assert parts["other"] >= 4


def test_what_a_parent_does_that_compiles_nothing_is_part_of_the_start(tmp_path):
    parts = parts_of(
        tmp_path,
        """
        import multiprocessing, time
        import torch
        def work():
            from compilespan import monitor_torch_compile
            with monitor_torch_compile("child", kind="compile"):
                time.sleep(1)
        if __name__ == "__main__":
            time.sleep(2)
            child = multiprocessing.get_context("fork").Process(target=work)
            child.start()
            child.join()
        """,
    )
    assert parts["import"] >= 0.5
    assert parts["compile"] == pytest.approx(1, abs=0.2)
    assert parts["other"] >= 2  # nobody says what it did


def test_a_server_that_warms_up_at_its_start(measured):
    env = {"MEASURED": str(measured)}
    with Server("stopwatch_targets:targets", env=env) as server:
        server.wait_for(lambda: server.client.get("/readyz").status_code == 200)
        totals = server.client.get("/totals").json()
        (start,) = server.client.get("/history").json()
        server.stop()
    server_agrees(totals, start, measured)
    assert sum(each["duration_s"] for each in start["segments"]) == pytest.approx(
        totals["ready_after_s"]
    )
    assert {"torch", "transformers"} <= set(start["imports"])
    assert start["compile"] == {"other": pytest.approx(totals["start"]["compile"])}
    assert start["cache"] == "no cache"
    assert "a start without a cache" in server.output
    assert shown_load_s(server.output) == pytest.approx(start["start"]["load"], abs=0.01)


def test_a_server_that_waits_for_its_first_request_says_so(measured):
    env = {"MEASURED": str(measured)}
    with Server("stopwatch_targets:targets", "--warmup", "on-request", env=env) as server:
        server.wait_for(lambda: server.client.get("/startupz").status_code == 200)
        began = time.monotonic()
        time.sleep(1.5)
        before = server.client.get("/totals").json()
        waited_before_s = time.monotonic() - began
        assert server.client.get("/history").json()[0]["cache"] == "unknown"
        waited_s = time.monotonic() - began
        server.client.post("/warmup?wait=60")
        totals = server.client.get("/totals").json()
        (start,) = server.client.get("/history").json()
        server.stop()
    assert before["start"]["wait"] == pytest.approx(waited_before_s, abs=0.4)  # it goes on
    assert totals["start"]["wait"] == pytest.approx(waited_s, abs=0.4)
    server_agrees(totals, start, measured)


def test_a_router_in_somebodys_own_server(measured, tmp_path):
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "stopwatch_app:app", "--port", str(port)],
        env={**os.environ, "MEASURED": str(measured), "COMPILESPAN_STATE_DIR": str(tmp_path)},
        cwd=TARGETS,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                time.sleep(0.1)
                try:
                    job = client.get("/ops/warmup").json()
                except (httpx.TransportError, ValueError):
                    continue
                if job.get("ended_at"):
                    break
            totals = client.get("/ops/totals").json()
            (start,) = client.get("/ops/history").json()
    finally:
        server.terminate()
        server.wait(20)
    server_agrees(totals, start, measured)
