"""What a shared compile cache saves: CPU and time of replicas that start together, and later.

CPU and time are those of the warmup alone, without imports and the load of the model. Each replica
has an empty cache directory of its own, except for ``restart``.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

REPLICAS = 4
REPEATS = 3
BAR = 1.15
"""What a follower may cost, compared with a restart that has its own cache directory."""

_REPLICA = """
import json, os, sys, time
import psutil
from compilespan import TorchCompileInstrumentor, get_ledger, warm
from compilespan_service.demo import targets

TorchCompileInstrumentor().instrument()
(target,) = targets()
target.load()
target = type(target)(target.name, target.run, target.shapes)

def cpu_s():
    own = psutil.Process()
    times = [each.cpu_times() for each in [own, *own.children(recursive=True)]]
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)

print("loaded", flush=True)
sys.stdin.readline()
began_s, began_cpu_s = time.monotonic(), cpu_s()
result = warm([target], cache=sys.argv[1] or None)
spent = {"wall_s": time.monotonic() - began_s, "cpu_s": cpu_s() - began_cpu_s}
assert result.is_warm, result.items
total, parts_s = get_ledger().totals().total, get_ledger().start().parts_s
print(json.dumps({
    **spent, "hits": total.cache_hits, "misses": total.cache_misses,
    "wait_s": parts_s.get("wait", 0.0),
}))
"""


def main() -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        apart = replicas(here, "apart", [""] * REPLICAS)
        url = f"file://{here}/store"
        together = replicas(here, "together", [url] * REPLICAS)
        (alone,) = replicas(here, "alone", [""])
        restarts, followers = [], []
        for repeat in range(REPEATS):  # interleaved
            restarts += replicas(here, "alone", [""])
            followers += replicas(here, f"follower{repeat}", [url])
        silent = socket.create_server(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        (unanswered,) = replicas(here, "alone", [f"http://127.0.0.1:{port}/"])
        silent.close()
    assert all(each["misses"] == 0 for each in [*restarts, *followers])
    restart_cpu_s = median(restarts, "cpu_s")
    leader_cpu_s = max(each["cpu_s"] for each in together)
    rows: list[dict[str, object]] = [
        row("one replica, cold", [alone]),
        row("restart with its own directory", restarts),
        row("follower with the store", followers),
        row(f"{REPLICAS} at once, without a store", apart),
        row(f"{REPLICAS} at once, with a store", together),
        row("restart, store that never answers", [unanswered]),
    ]
    rows += [
        compared("follower : restart, CPU", median(followers, "cpu_s"), restart_cpu_s, BAR),
        compared(
            "follower : restart, wall", median(followers, "wall_s"), median(restarts, "wall_s")
        ),
        compared(
            f"{REPLICAS} at once : leader + {REPLICAS - 1} restarts, CPU",
            sum(each["cpu_s"] for each in together),
            leader_cpu_s + (REPLICAS - 1) * restart_cpu_s,
            BAR,
        ),
        compared(
            "with : without a store, CPU of all", total(together, "cpu_s"), total(apart, "cpu_s")
        ),
        compared("with : without a store, until all are warm", longest(together), longest(apart)),
    ]
    return rows


def replicas(here: Path, name: str, urls: list[str]) -> list[dict[str, float]]:
    """Run replicas at once, from the moment when all have loaded."""
    running = []
    for index, url in enumerate(urls):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("COMPILESPAN_", "OTEL_"))}
        env["TORCHINDUCTOR_CACHE_DIR"] = str(here / f"{name}-{index}")
        env["TMPDIR"] = str(here / f"{name}-{index}-tmp")  # torch keeps precompiled headers there
        Path(env["TMPDIR"]).mkdir(exist_ok=True)
        env["COMPILESPAN_CACHE_UNSIGNED"] = "1"
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", _REPLICA, url],
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    for each in running:
        assert each.stdout is not None
        assert each.stdout.readline() == "loaded\n"
    for each in running:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    outputs = [each.communicate()[0] for each in running]
    assert all(each.returncode == 0 for each in running)
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def row(name: str, found: list[dict[str, float]]) -> dict[str, object]:
    return {
        "starts": name,
        "n": len(found),
        "CPU of all (s)": total(found, "cpu_s"),
        "CPU of one, median (s)": median(found, "cpu_s"),
        "until all are warm (s)": longest(found),
        "waited, longest (s)": max(each["wait_s"] for each in found),
        "hits": sum(int(each["hits"]) for each in found),
        "misses": sum(int(each["misses"]) for each in found),
    }


def compared(name: str, ours: float, theirs: float, bar: float | None = None) -> dict[str, object]:
    return {"starts": name, "ratio": ours / theirs, "bar": "" if bar is None else bar}


def median(found: list[dict[str, float]], column: str) -> float:
    return statistics.median(each[column] for each in found)


def total(found: list[dict[str, float]], column: str) -> float:
    return sum(each[column] for each in found)


def longest(found: list[dict[str, float]]) -> float:
    return max(each["wall_s"] for each in found)
