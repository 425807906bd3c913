"""Accuracy: our seconds compared with a stopwatch outside, cold and warm.

The reference is the time that compiling added: (first call - the same call again), summed over the
calls. For comparison, the timers that torch reports for each compile (Dynamo, AOTAutograd,
inductor, code generation) are added up as if they did not nest.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time

from benchmarks.workloads import WORKLOADS

BARS = {"cold": 0.02, "warm": 0.05}


def one(workload: str) -> dict[str, float]:
    """Measure one workload in this process."""
    import torch

    from compilespan import TorchCompileInstrumentor, get_ledger

    TorchCompileInstrumentor().instrument()
    torch.manual_seed(0)
    reference_s = first_s = 0.0
    with torch.inference_mode():
        for call in WORKLOADS[workload]():
            began = time.perf_counter()
            call()
            first = time.perf_counter() - began
            began = time.perf_counter()
            call()
            reference_s += first - (time.perf_counter() - began)
            first_s += first
    total = get_ledger().totals().total
    parts = (
        "dynamo_cumulative_compile_time_us",
        "aot_autograd_cumulative_compile_time_us",
        "inductor_cumulative_compile_time_us",
        "inductor_code_gen_cumulative_compile_time_us",
    )
    return {
        "compiles": total.compiles,
        "reference_s": reference_s,
        "compilespan_s": total.compile_s,
        "wall_s": total.wall_s,
        "first_calls_s": first_s,
        "sum_of_torchs_timers_s": sum(
            (getattr(metrics, part) or 0) / 1e6
            for metrics in torch._dynamo.utils.get_compilation_metrics()
            for part in parts
        ),
    }


def in_process(workload: str, cache: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.accuracy", workload],
        env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> list[dict[str, object]]:
    rows = []
    for workload in WORKLOADS:
        with tempfile.TemporaryDirectory() as cache:
            for state in ("cold", "warm"):
                row = in_process(workload, cache)
                off = row["compilespan_s"] / row["reference_s"] - 1
                rows.append(
                    {
                        "workload": workload,
                        "cache": state,
                        **row,
                        "off": off,
                        "within_bar": abs(off) <= BARS[state],
                        "wall_within": row["wall_s"] <= row["first_calls_s"],
                        "torchs_timers_off": row["sum_of_torchs_timers_s"] / row["reference_s"] - 1,
                    }
                )
                print(f"{workload:15} {state}: {off:+.2%}", file=sys.stderr, flush=True)
    return rows


if __name__ == "__main__":
    print(json.dumps(one(sys.argv[1])))
