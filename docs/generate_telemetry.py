"""Writes docs/telemetry.md from the registry: ``python docs/generate_telemetry.py``."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

TARGET = Path(__file__).parent / "telemetry.md"
HEAD = """# Telemetry

Generated from `instrumentation/compilespan/registry/compilespan.yaml` by
`docs/generate_telemetry.py`.
"""


def text() -> str:
    """Return the page."""
    source = files("compilespan").joinpath("registry/compilespan.yaml").read_text("utf-8")
    groups: list[dict[str, Any]] = yaml.safe_load(source)["groups"]
    attributes = {
        a["id"]: a for g in groups if g["type"] == "attribute_group" for a in g["attributes"]
    }
    parts = [HEAD]
    titles = {"entity": "Resource", "span": "Spans", "event": "Events", "metric": "Metrics"}
    for kind, title in titles.items():
        parts.append(f"\n## {title}\n")
        for group in groups:
            if group["type"] == kind:
                parts += _group(group)
    parts.append("\n## Attributes\n\n| attribute | type | what it says |\n| --- | --- | --- |\n")
    parts += [
        f"| `{name}` | {_type(a['type'])} | {a['brief']} |\n" for name, a in attributes.items()
    ]
    return "".join(parts)


def _group(group: dict[str, Any]) -> list[str]:
    name = group.get("metric_name") or group.get("name") or group["id"].removeprefix("span.")
    lines = [f"\n### `{name}`\n\n"]
    if group["type"] == "metric":
        lines.append(f"{group['instrument']}, unit `{group['unit']}`. ")
    lines.append(f"{group['brief']}\n\n")
    for reference in group.get("attributes", ()):
        level = reference["requirement_level"]
        when = level if isinstance(level, str) else f"if {level['conditionally_required']}"
        lines.append(f"- `{reference['ref']}` ({when})\n")
    return lines


def _type(kind: Any) -> str:
    if isinstance(kind, str):
        return kind
    return "one of " + ", ".join(f"`{member['value']}`" for member in kind["members"])


if __name__ == "__main__":
    TARGET.write_text(text(), "utf-8")
