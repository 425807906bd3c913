"""What the port waits for: CPU from the start of a process to its first ``/livez``.

``compilespan serve`` beside an empty FastAPI app with the SDK's providers and the same server;
neither exports.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request

TIMES = 9
BAR = 1.3
_TARGETS = "benchmarks.startup:no_targets"
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
    """The factory: what a server imports is its own business."""
    return []


def cpu_to_first_livez(arguments: list[str]) -> float:
    """Return user and system seconds of a process when it first answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, *arguments, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=5).close()
                break
            except urllib.error.URLError:
                time.sleep(0.005)
        with open(f"/proc/{process.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    finally:
        process.kill()
        process.wait()


def main() -> list[dict[str, object]]:
    ours = ["-m", "compilespan_service.cli", "serve", _TARGETS, "--warmup", "on-request", "--port"]
    cases = {"empty FastAPI and SDK": ["-c", _EMPTY], "compilespan serve": ours}
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(TIMES):
        for name, arguments in cases.items():
            times[name].append(cpu_to_first_livez(arguments))
    base_s = statistics.median(times["empty FastAPI and SDK"])
    return [
        {
            "what": name,
            "cpu_s": statistics.median(each),
            "ratio": statistics.median(each) / base_s,
            "bar": BAR,
        }
        for name, each in times.items()
    ]


if __name__ == "__main__":
    print(json.dumps(main(), indent=1))
