"""What compilespan and torch's own tools cost: time and bytes of a warm compile with each.

Each tool runs in three processes of its own, in turn. The bytes are what it wrote for one compile.
tlparse, if it is installed, is timed on the log of one process.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.cost import compile_once
from compilespan import TorchCompileInstrumentor

ROUNDS = 3
WARM, COMPILES = 6, 30
TOOLS = ("nothing", "compilespan", "TORCH_LOGS=recompiles,graph_breaks")
TOOLS += ("TORCH_LOGS=+dynamo,+aot,+inductor", "TORCH_TRACE", "profiler")


def environment(tool: str, directory: Path) -> dict[str, str]:
    """Return the variables that switch a tool on."""
    if tool == "compilespan":
        return {"COMPILESPAN_STATE_DIR": str(directory)}
    name, _, value = tool.partition("=")
    return {name: value or str(directory)} if name.startswith("TORCH_") else {}


def run(tool: str, directory: Path) -> tuple[float, float]:
    """Return the milliseconds of the fastest compile, and the bytes written for one."""
    with (directory / "stderr").open("w") as stderr:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.beside", tool, directory],
            env=os.environ | environment(tool, directory),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            check=True,
        )
    written = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    return json.loads(done.stdout.splitlines()[-1]), written / (WARM + COMPILES)


def tlparse(directory: Path) -> dict[str, object]:
    """Return the seconds and bytes that tlparse takes for the log of one process."""
    (log,) = directory.glob("*.log")
    pages = directory / "pages"
    began = time.perf_counter()
    command = ["tlparse", log, "-o", pages, "--overwrite", "--no-browser"]
    subprocess.run(command, check=True, capture_output=True)
    took_s = time.perf_counter() - began
    written = sum(path.stat().st_size for path in pages.rglob("*") if path.is_file())
    each = WARM + COMPILES
    return {"what": "tlparse", "ms": took_s / each * 1e3, "kib": written / each / 1024}


def main() -> list[dict[str, object]]:
    times: dict[str, list[float]] = {tool: [] for tool in TOOLS}
    written: dict[str, float] = {}
    pages: list[dict[str, object]] = []
    for _ in range(ROUNDS):
        for tool in TOOLS:
            with tempfile.TemporaryDirectory() as scratch:
                fastest_ms, written[tool] = run(tool, Path(scratch))
                times[tool].append(fastest_ms)
                if tool == "TORCH_TRACE" and not pages and shutil.which("tlparse"):
                    pages = [tlparse(Path(scratch))]
    base_ms = statistics.median(times["nothing"])
    rows = [
        {
            "what": tool,
            "ms": statistics.median(times[tool]),
            "ratio": statistics.median(times[tool]) / base_ms,
            "ratios": [round(each / base_ms, 3) for each in times[tool]],
            "kib": (written[tool] - written["nothing"]) / 1024,
        }
        for tool in TOOLS
    ]
    return rows + pages


@contextlib.contextmanager
def profiled(directory: str):
    """Run torch's profiler, and export its trace."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        yield
    profile.export_chrome_trace(f"{directory}/{time.monotonic_ns()}.json")


if __name__ == "__main__":
    tool, directory = sys.argv[1:]
    if tool == "compilespan":
        TorchCompileInstrumentor().instrument()
    around = (lambda: profiled(directory)) if tool == "profiler" else contextlib.nullcontext
    with contextlib.redirect_stdout(sys.stderr):
        for _ in range(WARM):
            compile_once("inductor", around)
        gc.collect()
        gc.freeze()
        each = [compile_once("inductor", around) for _ in range(COMPILES)]
    # Other work of the machine only adds time, so the fastest one is the steadiest.
    print(json.dumps(min(each) * 1e3))
