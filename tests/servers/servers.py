"""The servers that are started for real, each with two workers that hold a model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "docs/examples"
PYTHON = os.environ.get("COMPILESPAN_SERVER_PYTHON", sys.executable)
"""The Python that has the server installed: `make test-servers NAME=…` names one."""


@dataclass(frozen=True)
class Server:
    """How to start a server and what to ask it.

    Attributes:
        package: What has to be installed; tests of others are skipped.
        command: Returns the command for a port; its first word is a module or a file for Python.
        folder: Where it is started.
        compiles: How many there are in all workers at the end of the warmup.
        stop: Signal that ends it.
        env: Further variables.
    """

    package: str
    command: Callable[[int], list[str]]
    folder: Path = HERE
    compiles: int = 4
    stop: signal.Signals = signal.SIGTERM
    env: dict[str, str] = field(default_factory=dict)

    @property
    def is_installed(self) -> bool:
        code = f"import importlib.util as u, sys; sys.exit(u.find_spec({self.package!r}) is None)"
        return subprocess.run([PYTHON, "-c", code], check=False).returncode == 0


SERVERS = {
    "uvicorn": Server(
        "uvicorn",
        lambda port: ["-m", "uvicorn", "asgi_app:app", "--workers", "2", "--port", str(port)],
        env={"WEB_CONCURRENCY": "2"},
    ),
    "gunicorn_preload": Server(
        "gunicorn",
        lambda port: [
            *("-m", "gunicorn", "asgi_app:app", "--preload", "--workers", "2"),
            *("--worker-class", "asgi", "--bind", f"127.0.0.1:{port}"),
        ],
        env={"WEB_CONCURRENCY": "2"},
    ),
    "bentoml": Server(
        "bentoml",
        lambda port: ["-m", "bentoml", "serve", "bentoml_service:Embedder", "--port", str(port)],
        folder=EXAMPLES,
        env={"COMPILESPAN_PROCESSES": "2", "BACKEND": "eager"},
    ),
    "gradio": Server(
        "gradio",
        lambda port: ["-m", "uvicorn", "gradio_app:app", "--workers", "2", "--port", str(port)],
        folder=EXAMPLES,
        env={"WEB_CONCURRENCY": "2", "BACKEND": "eager"},
    ),
    "kserve": Server(
        "kserve",
        lambda port: ["kserve_server.py", "--workers", "2", "--http_port", str(port)],
        folder=EXAMPLES,
        env={"COMPILESPAN_PROCESSES": "2", "BACKEND": "eager"},
    ),
    "ray": Server(
        "ray",
        lambda _: ["ray_app.py"],
        folder=EXAMPLES,
        env={"COMPILESPAN_PROCESSES": "2", "BACKEND": "eager"},
    ),
    "litserve": Server(
        "litserve",
        lambda _: ["litserve_server.py"],
        folder=EXAMPLES,
        stop=signal.SIGINT,  # on SIGTERM its first process ends and leaves the others
        env={"COMPILESPAN_PROCESSES": "2", "BACKEND": "eager"},
    ),
}
