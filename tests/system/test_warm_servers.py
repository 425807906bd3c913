"""``compilespan warm`` against real servers, on a terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import httpx
import pyte
import pytest
from receiver import Receiver
from server import Server, free_port

from serving import wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

SERVE = ("serve", "eager_targets:net2", "--warmup", "on-request")
COMPILESPAN = (sys.executable, "-m", "compilespan_service.cli")


class Terminal:
    """Runs a command on a terminal of 120 columns, and keeps what it shows."""

    def __init__(self, *arguments, env=None):
        ours, theirs = pty.openpty()
        self.screen = pyte.HistoryScreen(120, 40, history=1000)
        self.seen = []
        self._stream = pyte.ByteStream(self.screen)
        os.set_blocking(ours, True)
        self.process = subprocess.Popen(
            [*COMPILESPAN, *arguments],
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", **(env or {})},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._ours = ours
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:
                return
            if not data:
                return
            self._stream.feed(data)
            self.seen.append(self.text)

    @property
    def text(self):
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def wait(self, timeout_s=200):
        code = self.process.wait(timeout_s)
        self._thread.join(10)
        return code


@pytest.mark.long
def test_ten_servers_that_are_not_up_yet_are_warmed_up_in_one_trace():
    ports = [free_port() for _ in range(10)]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    with Receiver() as receiver, ExitStack() as stack:
        env = receiver.environment()
        terminal = Terminal("warm", *urls, "--timeout", "250", env=env)
        for port in ports:
            server = subprocess.Popen(
                [*COMPILESPAN, *SERVE, "--port", str(port)],
                env={**os.environ, **env},
                cwd=Path(__file__).parent,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(server.wait)
            stack.callback(server.terminate)
        assert terminal.wait() == 0, terminal.text
        rows = [line for line in terminal.text.splitlines() if line.startswith("http://")]
        assert sorted(row.split()[0] for row in rows) == sorted(urls)
        assert all(" warm " in row for row in rows)
        assert any("of 10 done" in each for each in terminal.seen)
        assert any("↻" in each for each in terminal.seen)
        wait_until(lambda: len(receiver.received.named("compilespan.warmup")) == 10, 30)
        (root,) = receiver.received.named("compilespan.fleet")
        assert root.attributes["compilespan.fleet.replicas"] == 10
        assert {each.trace_id for each in receiver.received.named("compilespan.warmup")} == {
            root.trace_id
        }


def test_ctrl_c_says_what_goes_on_and_how_to_cancel_it():
    with Server("eager_targets:slow", "--warmup", "on-request") as server:
        url = f"http://127.0.0.1:{server.port}"
        terminal = Terminal("warm", url)
        wait_until(lambda: any("now " in each for each in terminal.seen), 60)
        os.killpg(terminal.process.pid, signal.SIGINT)
        assert terminal.wait(30) == 130, terminal.text
        job = httpx.get(f"{url}/warmup").json()
        assert job["state"] == "running"
        assert f"curl -X DELETE {url}/warmup/jobs/{job['id']}" in terminal.text
        assert "Traceback" not in terminal.text
        assert httpx.delete(f"{url}/warmup/jobs/{job['id']}").is_success
