"""Servers with two workers: `run`, zero-code and the mounted endpoints cover both workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest
from receiver import Receiver
from server import free_port

from servers import PYTHON, SERVERS

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


@pytest.fixture(params=SERVERS)
def server(request):
    found = SERVERS[request.param]
    if not found.is_installed:
        pytest.skip(f"{found.package} is not installed: see `make test-servers`")
    return found


class Started:
    """A server that runs, and all its processes."""

    def __init__(self, server, process, port, log):
        self.server, self.process, self.port, self._log = server, process, port, log
        self._children = []

    @property
    def output(self):
        return self._log.read_text("utf-8", "replace")

    def get(self, path):
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=60)

    def wait_ready(self):
        deadline = time.monotonic() + 120
        while True:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, f"it never got ready:\n{self.output}"
            try:
                if self.get("/ops/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)

    def kill(self):
        """Kill all processes, also those that left the first one's session."""
        for each in {*self._children, *self._living()}:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        self.process.wait()

    def _living(self):
        with suppress(psutil.NoSuchProcess):
            return [self.process, *self.process.children(recursive=True)]
        return []

    def stop(self):
        """Signal the first process, as an operator does; return its exit code and its output."""
        self._children = self._living()
        self.process.send_signal(self.server.stop)
        try:
            return self.process.wait(timeout=60), self.output
        except subprocess.TimeoutExpired:
            pytest.fail(f"it did not end:\n{self.output}")


@contextmanager
def started(server, tmp_path, launcher=(), **env):
    port = free_port()
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COMPILESPAN_", "OTEL_"))
    }
    path = f"{Path(PYTHON).parent}{os.pathsep}{kept['PATH']}"
    log = tmp_path / f"{port}.log"
    with log.open("wb") as output:  # a worker that outlives its server would keep a pipe open
        process = psutil.Popen(
            [*launcher, PYTHON, *server.command(port)],
            cwd=server.folder,
            env={**kept, "PATH": path, "PORT": str(port), **server.env, **env},
            stdout=output,
            stderr=subprocess.STDOUT,
            # A shell lets what it starts in the background ignore SIGINT, which ends LitServe.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    started = Started(server, process, port, log)
    try:
        yield started
    finally:
        started.kill()


def test_the_endpoints_follow_the_workers(server, tmp_path):
    with started(server, tmp_path, COMPILESPAN_STATE_DIR=str(tmp_path / "state")) as running:
        running.wait_ready()
        totals = running.get("/ops/totals").json()
        assert totals["total"]["compiles"] == server.compiles
        compiling = [row for row in totals["by_process"].values() if row["compiles"]]
        assert len(compiling) == 2
        assert totals["ready_after_s"] > 0
        assert set(totals["by_name"]) == {"Linear"}
        for _ in range(8):  # whichever process answers
            assert running.get("/ops/readyz").status_code == 200
            assert running.get("/ops/totals").json()["total"] == totals["total"]


def test_run_covers_the_workers_and_changes_no_exit_code(server, tmp_path):
    with started(server, tmp_path) as running:
        running.wait_ready()
        own_code, _ = running.stop()
    file = tmp_path / "start.json"
    launcher = [Path(PYTHON).parent / "compilespan", "run", "-o", str(file), "--"]
    with started(server, tmp_path, launcher) as running:
        running.wait_ready()
        code, output = running.stop()
    assert code == own_code, output
    figures = json.loads(file.read_text())
    assert figures["totals"]["total"]["compiles"] == server.compiles
    assert len({record["pid"] for record in figures["compiles"]}) == 2


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_zero_code_delivers_all_of_a_server_that_is_stopped_at_once(server, tmp_path, protocol):
    """The SDK's own intervals are an hour: what arrives was flushed after the compiles."""
    launcher = [Path(PYTHON).parent / "opentelemetry-instrument"]
    with Receiver() as receiver:
        with started(
            server,
            tmp_path,
            launcher,
            **{
                **receiver.environment(protocol),
                "OTEL_BSP_SCHEDULE_DELAY": "3600000",
                "OTEL_METRIC_EXPORT_INTERVAL": "3600000",
            },
        ) as running:
            running.wait_ready()
            _, output = running.stop()
        spans = receiver.received.named("torch.compile")
        assert len(spans) == server.compiles, output
        assert all("is_encoder" in span.attributes for span in spans)
        assert len({span.resource["compilespan.instance.id"] for span in spans}) == 1
        workers = {span.resource["service.instance.id"] for span in spans}
        assert len(workers) == 2
        measured = receiver.received.resources_of("torch.compile.duration")
        assert workers <= {resource["service.instance.id"] for resource in measured}
