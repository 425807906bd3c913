"""A real ``vllm serve`` of a tiny model, in processes of its own."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
from server import free_port
from vllm_start import PYTHON, environment

SMALL = (
    *("--load-format", "dummy", "--max-model-len", "256", "--max-num-seqs", "4"),
    *("--max-num-batched-tokens", "256", "--host", "127.0.0.1"),
    *("--limit-mm-per-prompt", '{"image":1,"video":0}'),
)


class Serving:
    """The server, from its start until it has ended by SIGTERM."""

    def __init__(self, model, directory, *options, receiver=None, uds=None, tls=None, **env):
        self.directory = directory
        self._uds = uds
        port = free_port()
        self._log = directory / "log"
        self.env = environment(directory, receiver, **env)
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    *(Path(PYTHON).with_name("vllm"), "serve", model, *SMALL, *options),
                    *("--port", str(port), *(("--uds", uds) if uds else ())),
                ],
                env=self.env,
                cwd=directory,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.client = httpx.Client(
            base_url=f"{'https' if tls else 'http'}://127.0.0.1:{port}",
            timeout=120,
            transport=httpx.HTTPTransport(uds=uds) if uds else None,
            verify=tls or False,
        )

    @property
    def log(self):
        return self._log.read_text("utf-8")

    def __enter__(self):
        deadline = time.monotonic() + 250
        while not self._is_up():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.3)
        return self

    def __exit__(self, *_):
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(30) == 0
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def _is_up(self):
        try:
            if self._uds:  # httpcore leaves one open that is refused
                with socket.socket(socket.AF_UNIX) as tried:
                    tried.connect(self._uds)
            return self.client.get("/health").status_code == 200
        except (OSError, httpx.TransportError):
            return False

    def get(self, path, key=None):
        return self.client.get(path, headers=_bearer(key))

    def warm(self, key=None):
        """Return the items of a warmup that went well."""
        response = self.client.post("/warmup?wait=200", headers=_bearer(key))
        assert response.status_code == 200, response.text
        return response.json()["items"]


def _bearer(key):
    return {"Authorization": f"Bearer {key}"} if key else {}
