"""Measure, print tables and write them as JSON: ``python -m benchmarks [accuracy|nesting|...]``."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import (
    accuracy,
    beside,
    bounded,
    cost,
    fleet,
    liveness,
    nesting,
    old_starts,
    startup,
)

RESULTS = Path(__file__).parent / "results"
SUITES = {
    "accuracy": accuracy.main,
    "nesting": nesting.main,
    "cost": cost.main,
    "beside": beside.main,
    "growth": cost.growth,
    "liveness": liveness.main,
    "startup": startup.main,
    "old_starts": old_starts.main,
    "bounded": bounded.main,
    "fleet": fleet.main,
}


def machine() -> dict[str, object]:
    with open("/proc/cpuinfo") as file:
        models = [line.partition(":")[2].strip() for line in file if "model name" in line]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def show(console: Console, name: str, rows: list[dict[str, object]]) -> None:
    table = Table(title=name)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        table.add_column(column)
    for row in rows:
        cells = [row.get(column, "") for column in columns]
        table.add_row(*(f"{c:.4g}" if isinstance(c, float) else str(c) for c in cells))
    console.print(table)


def main() -> None:
    console = Console(width=200)
    RESULTS.mkdir(exist_ok=True)
    for name in sys.argv[1:] or SUITES:
        rows = SUITES[name]()
        show(console, name, rows)
        text = json.dumps({"machine": machine(), "rows": rows}, indent=1)
        (RESULTS / f"{name}.json").write_text(text + "\n")


main()
