"""Writes the dashboards: ``python -m grafana.source``."""

from __future__ import annotations

import json
from pathlib import Path

from grafana.source import compile_time, slow_start

TARGET = Path(__file__).parent.parent / "dashboards"


def dashboards() -> dict[Path, str]:
    """Return what belongs into each file."""
    return {
        TARGET / f"{name}.json": json.dumps(module.build(), indent=2, ensure_ascii=False) + "\n"
        for name, module in (("compile-time", compile_time), ("slow-start", slow_start))
    }


if __name__ == "__main__":
    for path, text in dashboards().items():
        path.write_text(text, "utf-8")
