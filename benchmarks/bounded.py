"""Memory of a server over 5,000 warmup jobs and 100,000 records, and of a second worker.

One process runs the jobs, each of which records 21 compiles (explicit blocks: no torch). The other
worker of the same instance only reads what the first writes. Both are scraped every 100 jobs.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import httpx

from compilespan import WarmupTarget, monitor_torch_compile

if TYPE_CHECKING:
    from collections.abc import Iterator

JOBS = 5000
SHOWN = (500, 1000, 2000, 3000, 4000, JOBS)
_BLOCKS = 7  # per call; a job calls three times


def targets() -> list[WarmupTarget]:
    def run(_: object) -> None:
        for index in range(_BLOCKS):
            with monitor_torch_compile(
                f"block {index}", is_encoder=bool(index % 2), kind="compile"
            ):
                pass

    return [WarmupTarget("blocks", run, [{"batch": 1}])]


@contextlib.contextmanager
def server(directory: str) -> Iterator[tuple[httpx.Client, int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            *(
                sys.executable,
                "-m",
                "compilespan_service.cli",
                "serve",
                "benchmarks.bounded:targets",
            ),
            *("--warmup", "on-request", "--port", str(port), "--state-dir", directory),
        ],
        env={**os.environ, "COMPILESPAN_INSTANCE_ID": "bounded"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
    try:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if client.get("/startupz").is_success:
                    break
            time.sleep(0.05)
        yield client, process.pid
    finally:
        process.terminate()
        process.wait()


def resident_mb(pid: int) -> float:
    with open(f"/proc/{pid}/status") as file:
        return int(next(line for line in file if line.startswith("VmRSS")).split()[1]) / 1024


def main() -> list[dict[str, object]]:
    rows = []
    with (
        tempfile.TemporaryDirectory() as directory,
        server(directory) as (client, pid),
        server(directory) as (other, other_pid),
    ):
        for job in range(1, JOBS + 1):
            client.post("/warmup?wait=60", json={"force": True}).raise_for_status()
            if job % 100 == 0:
                for each in (client, other):
                    for path in ("metrics", "totals", "warmup/jobs", "compiles?limit=10"):
                        each.get(f"/{path}").raise_for_status()
            if job in SHOWN:
                time.sleep(1.0)
                rows.append(
                    {
                        "jobs": job,
                        "records_read": other.get("/totals").json()["total"]["compiles"],
                        "runs_jobs_mb": resident_mb(pid),
                        "reads_mb": resident_mb(other_pid),
                    }
                )
    return rows


if __name__ == "__main__":
    print(json.dumps(main(), indent=1))
