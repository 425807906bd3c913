"""How fast a server answers ``/livez`` while a transformer compiles in one of its threads.

Our router in an app with 50 blocked sync routes is compared with a bare FastAPI app that compiles
in a thread and has the same routes. The client is a separate process.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import httpx

EVERY_S = 0.02
BLOCKED = 50


def app(ours: bool):
    from fastapi import Depends, FastAPI

    app = FastAPI()
    never = threading.Event()

    @app.get("/block")
    def block():
        never.wait(120)

    if ours:
        from compilespan import WarmupTarget
        from compilespan_service.app import warmup_router

        def targets():
            from benchmarks import workloads  # imports torch, as factories do

            (call,) = workloads.encoder()
            return [WarmupTarget("encoder", lambda _: call(), [{"batch": 2}])]

        app.include_router(warmup_router(targets, dependencies=[Depends(lambda: None)]))
    else:
        now = {"state": "loading"}

        @app.get("/livez")
        async def livez():
            return now

        def compile_in_a_thread():
            from benchmarks import workloads

            (call,) = workloads.encoder()
            now["state"] = "cold"
            call()
            now["state"] = "warm"

        threading.Thread(target=compile_in_a_thread, daemon=True).start()
    return app


def measure(ours: bool) -> list[dict[str, object]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as cache:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.liveness", "ours" if ours else "bare", str(port)],
            env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": cache},
        )
        try:
            return _latencies(f"http://127.0.0.1:{port}", ours)
        finally:
            process.kill()
            process.wait()


def _latencies(url: str, ours: bool) -> list[dict[str, object]]:
    client = httpx.Client(base_url=url, timeout=30)
    while True:
        try:
            client.get("/livez")
            break
        except httpx.TransportError:
            time.sleep(0.02)
    for _ in range(BLOCKED):
        threading.Thread(target=_ignored, args=(url,), daemon=True).start()
    latencies: dict[str, list[float]] = {"loading": [], "cold": []}
    while True:
        due = time.monotonic() + EVERY_S
        asked = time.perf_counter()
        state = client.get("/livez").json()["state"]
        took_ms = (time.perf_counter() - asked) * 1e3
        if state == "warm":
            break
        latencies[state].append(took_ms)
        time.sleep(max(0.0, due - time.monotonic()))
    return [
        {
            "what": f"{'compilespan' if ours else 'bare FastAPI'}, {phase}",
            "requests": len(found),
            "p50_ms": statistics.median(found),
            "p99_ms": sorted(found)[int(len(found) * 0.99)],
            "max_ms": max(found),
        }
        for phase, found in (
            ("while torch is imported", latencies["loading"]),
            ("while it compiles", latencies["cold"]),
        )
    ]


def _ignored(url: str) -> None:
    with contextlib.suppress(httpx.TransportError):
        httpx.get(f"{url}/block", timeout=200)


def main() -> list[dict[str, object]]:
    return [row for ours in (False, True) * 2 for row in measure(ours)]


if __name__ == "__main__":
    if sys.argv[1:]:
        import uvicorn

        uvicorn.run(app(sys.argv[1] == "ours"), port=int(sys.argv[2]), log_level="error")
    else:
        print(json.dumps(main(), indent=1))
