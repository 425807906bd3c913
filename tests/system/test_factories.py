"""What ``compilespan serve`` says of a factory that it cannot use, and how it ends."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import subprocess
import sys
import textwrap
import threading

import httpx
import pytest
from server import TARGETS, Server, free_port

from serving import wait_until

pytestmark = pytest.mark.system


def serve(*arguments, cwd=TARGETS):
    """Run it until it ends by itself."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "compilespan_service.cli", "serve"),
            *(*arguments, "--port", str(free_port())),
        ],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("eager_targets", "'eager_targets' names no factory; write MODULE:FACTORY"),
        ("eager_targets:missing", "module 'eager_targets' has no function 'missing'"),
        ("no_such_module:targets", "there is no module 'no_such_module'"),
        ("typo:targets", "module 'typo' is not valid Python: line 2: "),
    ],
)
@pytest.mark.parametrize("options", [(), ("--on-warmup-failure", "exit")], ids=["", "exit"])
def test_a_spec_with_a_typo_is_one_sentence_and_2(spec, says, options, tmp_path):
    (tmp_path / "typo.py").write_text("def targets():\n    return [\n")
    (tmp_path / "eager_targets.py").write_text("")
    done = serve(spec, *options, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"compilespan: {says}")
    assert done.stderr.count("\n") == 1, done.stderr


BROKEN = """
    import json
    def configure():
        return json.no_such_name
    configure()
"""


def test_a_module_whose_own_import_fails_is_told_with_the_traceback_of_its_author(tmp_path):
    (tmp_path / "broken.py").write_text(textwrap.dedent(BROKEN))
    done = serve("broken:targets", "--on-warmup-failure", "exit", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "module 'broken' fails when it is imported: AttributeError" in done.stderr
    assert 'broken.py", line 4, in configure' in done.stderr
    assert "compilespan_service" not in done.stderr
    assert "importlib" not in done.stderr


@pytest.mark.parametrize("factory", ["raises", "none", "nothing_loads"])
def test_a_load_that_fails_with_exit_is_3(factory, tmp_path):
    (tmp_path / "models.py").write_text(
        textwrap.dedent(
            """
            from compilespan import WarmupTarget

            def raises():
                raise ValueError("the weights are not there")

            def none():
                return None

            def nothing_loads():
                return [WarmupTarget("net", print, [{}], load=raises)]
            """
        )
    )
    done = serve(f"models:{factory}", "--on-warmup-failure", "exit", cwd=tmp_path)
    assert done.returncode == 3, done.stderr


APP = """
from compilespan_service.app import create_app
from compilespan_service.settings import Settings

def app():
    return create_app(Settings(factory="eager_targets:raises"))
"""


COMMANDS = {
    "uvicorn": ["uvicorn", "--factory", "app:app", "--port"],
    "gunicorn": ["gunicorn", "app:app()", "--workers", "1", "--worker-class", "asgi", "--bind"],
}


@pytest.mark.parametrize("kind", COMMANDS)
def test_exit_ends_the_process_of_another_server_as_sigterm_does(kind, tmp_path):
    """Gunicorn's master then starts the worker anew, as for any other that ends."""
    port = free_port()
    address = str(port) if kind == "uvicorn" else f"127.0.0.1:{port}"
    (tmp_path / "app.py").write_text(APP)
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *COMMANDS[kind], address],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": f"{tmp_path}:{TARGETS}",
                "COMPILESPAN_ON_WARMUP_FAILURE": "exit",
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    said = (tmp_path / "log").read_text
    try:
        if kind == "uvicorn":
            assert process.wait(60) in (0, -signal.SIGTERM)
            assert "the weights are not there" in said()
        else:
            wait_until(lambda: said().count("Booting worker") >= 2, timeout_s=60)
    finally:
        process.terminate()
        process.wait(20)


def test_the_server_listens_under_a_path_of_its_proxy():
    with Server("eager_targets:net2", "--root-path", "/ops") as server:
        assert b'href="/ops/openapi.json"' in server.client.get("/").content
        job = server.client.post("/warmup")
        assert job.headers["location"].startswith("/ops/warmup/jobs/")


def test_a_hangup_ends_it_as_sigterm_does():
    with Server("eager_targets:net2") as server:
        server.wait_for(lambda: server.client.get("/readyz").status_code == 200)
        assert server.stop(signal.SIGHUP) == 0


def test_of_many_streams_each_is_answered_whole_or_refused():
    with Server("eager_targets:slow") as server:
        server.wait_for(lambda: server.client.get("/warmup").json().get("state") == "running")
        job = server.client.get("/warmup").json()["id"]
        url = f"http://127.0.0.1:{server.port}/warmup/jobs/{job}/events"

        def first(_):
            with httpx.stream("GET", url, timeout=30) as response:
                if response.status_code != 200:
                    return response.status_code, b""
                chunks = response.iter_raw()  # closes the connection when it is forgotten
                chunk = next(chunks)
                together.wait(30)
                return 200, chunk

        together = threading.Event()
        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            futures = [pool.submit(first, index) for index in range(100)]
            concurrent.futures.wait(futures, timeout=10)
            together.set()
            answers = [future.result(30) for future in futures]
        assert sum(status == 200 for status, _ in answers) == 64
        assert all(chunk.startswith(b"retry: ") for status, chunk in answers if status == 200)
        assert {status for status, _ in answers} == {200, 503}
