"""A real ``compilespan serve`` process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

TARGETS = Path(__file__).parent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """Runs while it is entered; ended by SIGTERM, killed when that does not help."""

    def __init__(self, *arguments, env=None, cache=None, preexec_fn=None):
        self.port = free_port()
        self._arguments = arguments
        self._preexec_fn = preexec_fn
        self._env = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("COMPILESPAN_", "OTEL_"))
            },
            **({"TORCHINDUCTOR_CACHE_DIR": str(cache)} if cache else {}),
            **(env or {}),
        }
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=600)

    def __enter__(self):
        self.started_s = time.monotonic()
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "compilespan_service.cli", "serve"),
                *self._arguments,
                *("--port", str(self.port)),
            ],
            env=self._env,
            cwd=TARGETS,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=self._preexec_fn,  # noqa: PLW1509  # no other threads at that time
        )
        try:
            self.wait_for(lambda: self.client.get("/livez").status_code == 200)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self, how=signal.SIGTERM, timeout_s=20):
        """End the process; return its exit code."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            self.output = self.process.communicate(timeout=timeout_s)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.output = self.process.communicate()[0]
            raise
        except ValueError:  # stopped before
            pass
        return self.process.returncode

    def wait_for(self, condition, timeout_s=60):
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                if condition():
                    return
            except httpx.TransportError:
                if self.process.poll() is not None:
                    raise AssertionError(self.process.communicate()[0]) from None
            assert time.monotonic() < deadline, "waited too long"
            time.sleep(0.05)

    def resident_bytes(self):
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
