"""What 240 MB of earlier starts cost a server that starts in the same state directory.

``compilespan serve`` is measured with an empty state directory, with the journals of 250 starts
that were killed (so none ends with a summary), and with these journals again after all of them were
read.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from compilespan.ledger.records import CompileEvent, CompileRecord
from compilespan.process import identity
from compilespan.semconv import __version__

STARTS = 250
TOTAL_BYTES = 240_000_000
SHOWN = 100  # starts in a history
WATCH_S = 30.0
EVERY_S = 0.01
_TARGETS = "benchmarks.startup:no_targets"


def write_starts(directory: Path) -> None:
    started_s = int(time.time()) - STARTS * 3600
    for start in range(STARTS):
        began_ns = (started_s + start * 3600) * 10**9
        began = time.strftime("%Y%m%dT%H%M%S", time.gmtime(began_ns / 1e9))
        who = {
            "type": "process",
            "format": 1,
            "instance": f"start-{start}",
            "rank": None,
            "started_ns": began_ns,
            "versions": {"compilespan": __version__},
            "device": "cpu",
            **identity(),
            "pid": 100 + start,
            "started_ticks": 1,
            "is_locked": True,
        }
        with (directory / f"{began}-start-{start}-{100 + start}.jsonl").open("w") as file:
            file.write(json.dumps(who) + "\n")
            count = 0
            while file.tell() < TOTAL_BYTES // STARTS:
                count += 1
                file.write(_compile(count, began_ns + count * 3 * 10**9))


def _compile(key: int, start_ns: int) -> str:
    events = [
        CompileEvent("torch.compile.graph", start_ns, {"torch.compile.graph.index": index})
        for index in range(3)
    ]
    record = CompileRecord(
        "LlamaDecoderLayer", False, "compile", "dynamo", "startup", "ok", None, start_ns, 10**9,
        3, 0, 3, 0, "miss", False, None, (), ("0/0",), "", "", 1, 1, "language_model",
        events=tuple(events),
    )  # fmt: skip
    begin = {"type": "begin", "key": key, "name": record.name, "component": "language_model"}
    end = {"type": "end", "key": key, "record": record.to_json()}
    return json.dumps({**begin, "start_ns": start_ns}) + "\n" + json.dumps(end) + "\n"


def measure(directory: Path, what: str) -> dict[str, object]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    began_s = time.perf_counter()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "compilespan_service.cli", "serve", _TARGETS),
            *("--warmup", "on-request", "--port", str(port), "--state-dir", str(directory)),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        while True:
            try:
                client.get("/livez")
                break
            except httpx.TransportError:
                time.sleep(0.005)
        first_s = time.perf_counter() - began_s
        latencies: list[float] = []
        until_s = time.perf_counter() + WATCH_S
        while time.perf_counter() < until_s:
            asked_s = time.perf_counter()
            client.get("/livez").raise_for_status()
            latencies.append((time.perf_counter() - asked_s) * 1e3)
            time.sleep(EVERY_S)
        starts, memory_mb = len(client.get("/history").json()), _resident_mb(process.pid)
        while what.endswith("never read") and len(client.get("/history").json()) < SHOWN:
            time.sleep(1.0)
        return {
            "what": what,
            "first_livez_s": first_s,
            "livez_p50_ms": statistics.median(latencies),
            "livez_p99_ms": sorted(latencies)[int(len(latencies) * 0.99)],
            "livez_max_ms": max(latencies),
            "memory_mb": memory_mb,
            "starts_in_history": starts,
        }
    finally:
        process.terminate()
        process.wait()


def _resident_mb(pid: int) -> float:
    with open(f"/proc/{pid}/status") as file:
        peak = next(line for line in file if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024


def main() -> list[dict[str, object]]:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        empty, full = Path(name, "empty"), Path(name, "full")
        full.mkdir()
        write_starts(full)
        size_mb = sum(path.stat().st_size for path in full.iterdir()) / 1e6
        rows.append(measure(empty, "no earlier start"))
        rows.append(measure(full, f"{size_mb:.0f} MB of killed starts, never read"))
        rows.append(measure(full, "the same, once read"))
    return rows


if __name__ == "__main__":
    os.environ.pop("COMPILESPAN_STATE_DIR", None)
    print(json.dumps(main(), indent=1))
