"""CPU time before the port opens: from the start of a process to its first ``/livez``.

``compilespan serve`` is compared with an empty FastAPI app with the SDK's providers on the same
server; neither exports. Also how fast it answers after that, while it imports itself and torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMES = 9
BAR = 1.3
_SERVE = ["-m", "compilespan_service.cli", "serve", "--warmup", "on-request"]
_EMPTY = """
import sys
import uvicorn
from fastapi import FastAPI
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

trace.set_tracer_provider(TracerProvider())
metrics.set_meter_provider(MeterProvider())
app = FastAPI()

@app.get("/livez")
async def livez():
    return {"state": "empty"}

uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
"""


def no_targets() -> list[object]:
    """Return nothing and import nothing: the imports of a real server are not measured."""
    return []


def torch_targets() -> list[object]:
    """Import torch, as the factory of a real server does."""
    import torch

    return [] if torch.__version__ else [None]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_to_first_livez(arguments: list[str]) -> float:
    """Return the user and system CPU seconds of a process when it first answers."""
    port = free_port()
    with started([*arguments, str(port)], port) as process:
        with open(f"/proc/{process.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def started(arguments: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server and wait until it answers."""
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=5).close()
                break
            except urllib.error.URLError:
                time.sleep(0.005)
        yield process
    finally:
        process.kill()
        process.wait()


def latencies_ms() -> list[float]:
    """Request ``/livez`` 50 times a second until torch is imported; return the latencies."""
    port = free_port()
    ours = [*_SERVE, "benchmarks.startup:torch_targets", "--port", str(port)]
    found = []
    with started(ours, port):
        state = "loading"
        while state == "loading":
            asked_s = time.perf_counter()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=30) as answer:
                state = json.load(answer)["state"]
            took_s = time.perf_counter() - asked_s
            found.append(took_s * 1e3)
            time.sleep(max(0.0, 0.02 - took_s))
    return found


def main() -> list[dict[str, object]]:
    ours = [*_SERVE, "benchmarks.startup:no_targets", "--port"]
    cases = {"empty FastAPI and SDK": ["-c", _EMPTY], "compilespan serve": ours}
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(TIMES):
        for name, arguments in cases.items():
            times[name].append(cpu_to_first_livez(arguments))
    base_s = statistics.median(times["empty FastAPI and SDK"])
    rows: list[dict[str, object]] = [
        {
            "what": name,
            "cpu_s": statistics.median(each),
            "ratio": statistics.median(each) / base_s,
            "bar": BAR,
        }
        for name, each in times.items()
    ]
    found = sorted(each for _ in range(TIMES) for each in latencies_ms())
    while_imported: dict[str, object] = {
        "what": "livez until torch is imported",
        "p50_ms": statistics.median(found),
        "p99_ms": found[int(len(found) * 0.99)],
        "max_ms": found[-1],
    }
    return [*rows, while_imported]


if __name__ == "__main__":
    print(json.dumps(main(), indent=1))
