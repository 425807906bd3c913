"""Write dashboards and alert rules: ``python -m grafana.source``."""

from __future__ import annotations

import json
from pathlib import Path

from grafana.source import compile_time, rules, slow_start

TARGET = Path(__file__).parent.parent


def files() -> dict[Path, str]:
    """Return the text of each generated file."""
    boards = {
        TARGET / f"dashboards/{name}.json": json.dumps(module.build(), indent=2, ensure_ascii=False)
        + "\n"
        for name, module in (("compile-time", compile_time), ("slow-start", slow_start))
    }
    return {**boards, TARGET / "alerts/compilespan.yml": rules.build()}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, "utf-8")
