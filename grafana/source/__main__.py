"""Write dashboards and alert rules: ``python -m grafana.source``."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

from grafana.source import compile_time, rules, slow_start

TARGET = Path(__file__).parent.parent
_OPERATOR = """apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: compilespan
spec:
"""


def files() -> dict[Path, str]:
    """Return the text of each generated file."""
    boards = {
        TARGET / f"dashboards/{name}.json": json.dumps(module.build(), indent=2, ensure_ascii=False)
        + "\n"
        for name, module in (("compile-time", compile_time), ("slow-start", slow_start))
    }
    return {
        **boards,
        TARGET / "alerts/compilespan.yml": rules.build(),
        TARGET / "prometheus-rule.yaml": _prometheus_rule(rules.build()),
    }


def _prometheus_rule(text: str) -> str:
    """Return the same rules as an object of the Prometheus operator."""
    comment, _, groups = text.partition("groups:\n")
    return f"{comment}{_OPERATOR}{textwrap.indent(f'groups:{chr(10)}{groups}', '  ')}"


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, "utf-8")
