"""Prometheus rule file: thresholds, recording rules, alerts."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import yaml

from grafana.source.alerts import ALERTS, Alert
from grafana.source.compile_time import UID
from grafana.source.metrics import BEGAN, GRAPHS, STARTUP
from grafana.source.queries import START, newest

if TYPE_CHECKING:
    from grafana.source.fields import Json

HOME = "https://github.com/compilespan/compilespan"
_RUNBOOK = f"{HOME}/blob/main/docs/runbook.md"
_HEAD = """\
Alerts of compilespan for Prometheus 2.42 and newer, with metrics from OTLP or a scrape of /metrics.
Generated from grafana/source by `make generate`; you can change the thresholds here.

Compiles happen before the first scrape, so no rule uses rate(). An increase over a window is the
difference to the value at its start, or the whole value if the series did not exist then.
"""
_THRESHOLDS = "Thresholds. Each is a series that its alert compares with; change them here."
_STARTS = "Two alerts look back on these series for 7 days; by default Prometheus keeps 15 days."


def build() -> str:
    """Return the file."""
    thresholds = [(each.means, _threshold(each)) for each in ALERTS]
    alerts = [(each.why, _alert(each)) for each in ALERTS]
    groups = (
        ("compilespan-thresholds", _THRESHOLDS, thresholds),
        ("compilespan-starts", _STARTS, _recorded()),
        ("compilespan", "", alerts),
    )
    return f"{_comment(_HEAD)}groups:\n" + "\n".join(_group(*each) for each in groups)


def _recorded() -> list[tuple[str, Json]]:
    to_start = f"* on (job, instance) group_left ({START}) compilespan:process"
    named = f'target_info{{{START}!=""}}'
    promoted = BEGAN(f'{START}!=""')
    missed = GRAPHS('torch_compile_cache_result="miss"')
    hit, cached = (
        f"sum by (job) ({GRAPHS(f'torch_compile_cache_result{which}')})"
        for which in ('="hit"', '=~".+"')
    )
    return [
        (
            "The start of each process; without target_info each process is a separate start.",
            _record(
                "process",
                f"max by (job, instance, {START}) ({newest(named)} ^ 0)\n"
                f"or on (job, instance) max by (job, instance, {START}) ({promoted} ^ 0)\n"
                "or on (job, instance) label_replace(\n"
                f"  max by (job, instance) ({BEGAN()} ^ 0),\n"
                f'  "{START}", "$1", "instance", "(.*)"\n)',
            ),
        ),
        (
            "Time at which each start was ready, in seconds since the epoch.",
            _record(
                "start_ready_time",
                f"max by (job, {START}) (\n  ({BEGAN()} + on (job, instance) {STARTUP()})\n"
                f"  {to_start}\n)",
            ),
        ),
        (
            "Seconds to ready of starts in which any graph missed the cache.",
            _record(
                "cold_start_seconds",
                f"max by (job, {START}) (\n  {STARTUP()}\n  {to_start}\n)\n"
                f"and on ({START}) (\n  sum by ({START}) (\n    {missed}\n    {to_start}\n"
                "  ) > 0\n)",
            ),
        ),
        (
            "Share of the graphs of a service's processes that came from the cache.",
            _record("graph_hit_ratio", f"({hit} or 0 * {cached})\n/ {cached}"),
        ),
    ]


def _record(name: str, expr: str) -> Json:
    return {"record": f"compilespan:{name}", "expr": f"{expr}\n"}


def _threshold(alert: Alert) -> Json:
    return {"record": _name_of(alert), "expr": f"vector({alert.value})"}


def _alert(alert: Alert) -> Json:
    waits = {"for": alert.wait} if alert.wait else {}
    return {
        "alert": alert.name,
        "expr": alert.expr.replace("{threshold}", _name_of(alert)) + "\n",
        **waits,
        "labels": {"severity": alert.severity},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook": alert.runbook,
            "runbook_url": f"{_RUNBOOK}#{alert.name.lower()}",
            # Grafana turns the first into a link; the second is for readers elsewhere.
            "__dashboardUid__": UID,
            "dashboard": f"/d/{UID}?var-service={{{{ $labels.job | urlquery }}}}",
        },
    }


def _name_of(alert: Alert) -> str:
    return f"compilespan:threshold:{alert.threshold}"


def _group(name: str, comment: str, rules: list[tuple[str, Json]]) -> str:
    written = [
        _comment(why)
        + yaml.dump([rule], Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
        for why, rule in rules
    ]
    indented = textwrap.indent("\n".join(written), "    ")
    return textwrap.indent(f"{_comment(comment)}- name: {name}\n  rules:\n{indented}", "  ")


def _comment(text: str) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in text.splitlines())


class _Dumper(yaml.SafeDumper):
    """Writes multi-line strings as literal blocks."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
