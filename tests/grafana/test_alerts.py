"""The alert rules, by promtool: each fires when it should and is silent when it should."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import naming
import pytest
import starts
import yaml
from boards import DASHBOARDS, GRAFANA
from prometheus import PROMTOOL, needs_prometheus

RULES = GRAFANA / "alerts/compilespan.yml"
TEXT = RULES.read_text("utf-8")
GROUPS = {group["name"]: group["rules"] for group in yaml.safe_load(TEXT)["groups"]}
ALERTS = {rule["alert"]: rule for rule in GROUPS["compilespan"]}
THRESHOLDS = {rule["record"]: rule["expr"] for rule in GROUPS["compilespan-thresholds"]}
TESTS = Path(__file__).with_name("alerts_test.yml")
UID = "compilespan-compile-time"
ANNOTATIONS = {"summary", "description", "runbook", "runbook_url", "dashboard", "__dashboardUid__"}


def _beginnings(case):
    """Return when each process of a case began, where the case does not say it."""
    minutes = int(case["interval"].removesuffix("m").removesuffix("h"))
    minutes *= 60 if case["interval"].endswith("h") else 1
    found = {}
    for each in case["input_series"]:
        labels = dict(re.findall(r'(\w+)="([^"]*)"', each["series"]))
        process = f'job="{labels["job"]}",instance="{labels["instance"]}"'
        there = found.setdefault(process, {})
        if each["series"].startswith("compilespan_startup_began"):
            there[-1] = True
        said = starts.values(each["values"])
        there |= {moment: True for moment, value in enumerate(said) if value is not None}
    return [
        {
            "series": f"compilespan_startup_began_seconds{{{process}}}",
            "values": " ".join(
                str(60 * minutes * min(there)) if moment in there else "_"
                for moment in range(max(there) + 1)
            ),
        }
        for process, there in found.items()
        if -1 not in there
    ]


def _cases():
    """Return the tests, with what is the same for every alert."""
    cases = yaml.load(TESTS.read_text("utf-8"), yaml.BaseLoader)  # "0x40" is no number there
    for case in cases["tests"]:
        case["input_series"] += _beginnings(case)
    for each in _expected(cases["tests"]):
        for alert in each["exp_alerts"]:
            alert["exp_annotations"] |= {
                "runbook_url": ALERTS[each["alertname"]]["annotations"]["runbook_url"],
                "dashboard": f"/d/{UID}?var-service={alert['exp_labels']['job']}",
                "__dashboardUid__": UID,
            }
    return {**cases, "rule_files": [str(RULES)]}


def _expected(cases):
    return [expected for case in cases for expected in case["alert_rule_test"]]


CASES = _cases()


def promtool(*arguments):
    return subprocess.run(
        [PROMTOOL, *arguments], capture_output=True, text=True, check=False, timeout=120
    )


@needs_prometheus
def test_the_rules_are_valid():
    done = promtool("check", "rules", RULES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{sum(map(len, GROUPS.values()))} rules found" in done.stdout


@needs_prometheus
def test_each_fires_when_it_should_and_is_silent_when_it_should(tmp_path):
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(CASES))
    done = promtool("test", "rules", tmp_path / "tests.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    seen = {(each["alertname"], bool(each["exp_alerts"])) for each in _expected(CASES["tests"])}
    assert seen == {(alert, fires) for alert in ALERTS for fires in (True, False)}


@needs_prometheus
@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_another_threshold_is_another_alert(threshold, tmp_path):
    """Each threshold is the one of its alert: with another one its test fails."""
    value = float(re.fullmatch(r"vector\((.*)\)", THRESHOLDS[threshold])[1])
    other = 2 * value if value else 1e6
    (tmp_path / "rules.yml").write_text(
        TEXT.replace(
            f"record: {threshold}\n        expr: {THRESHOLDS[threshold]}\n",
            f"record: {threshold}\n        expr: vector({other})\n",
        )
    )
    (alert,) = [name for name, rule in ALERTS.items() if threshold in rule["expr"]]
    cases = [
        case
        for case in CASES["tests"]
        if any(each["alertname"] == alert for each in _expected([case]))
    ]
    tests = {**CASES, "rule_files": ["rules.yml"], "tests": cases}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(tests))
    done = promtool("test", "rules", tmp_path / "tests.yml")
    assert done.returncode != 0
    assert alert in done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_how_bad_it_is_and_what_to_do(alert):
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(rule["annotations"]) == ANNOTATIONS
    assert rule["annotations"]["runbook_url"].endswith(f"/docs/runbook.md#{alert.lower()}")
    assert rule["annotations"]["__dashboardUid__"] == DASHBOARDS["compile-time"]["uid"] == UID
    assert len(rule["annotations"]["runbook"].splitlines()) == 1
    assert any(threshold in rule["expr"] for threshold in THRESHOLDS)


def test_each_threshold_says_what_it_means():
    for threshold in THRESHOLDS:
        before = TEXT[: TEXT.index(f"- record: {threshold}")].rstrip().splitlines()[-1]
        assert before.strip().startswith("# "), threshold


def test_the_rules_name_what_the_registry_knows(node):
    rules = [rule for group in GROUPS.values() for rule in group]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    parsed = node("parse.mjs", {"promql": [rule["expr"] for rule in rules], "traceql": []})
    for each in parsed["promql"]:
        assert each["errors"] == [], each["query"]
        assert set(each["metrics"]) <= naming.known_metrics() | recorded
        assert set(each["labels"]) <= naming.known_labels() | {"began"}  # made by count_values
        assert not {"rate", "irate", "increase", "delta"} & set(each["functions"])


def test_the_page_about_them_says_the_same():
    """The table of docs/dashboards.md."""
    page = (GRAFANA.parent / "docs/dashboards.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.*\| `(\w+)` (\S+) \| (\w+) \|$", page, re.MULTILINE)
    told = {
        alert: (threshold, float(value), severity) for alert, threshold, value, severity in rows
    }
    assert told == {
        alert: (threshold.rpartition(":")[2], float(expr[7:-1]), rule["labels"]["severity"])
        for alert, rule in ALERTS.items()
        for threshold, expr in THRESHOLDS.items()
        if threshold in rule["expr"]
    }


def test_the_runbook_has_a_heading_for_each_and_no_other():
    page = (GRAFANA.parent / "docs/runbook.md").read_text("utf-8")
    parts = re.split(r"^## (\w+)$", page, flags=re.MULTILINE)
    headings = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert set(headings) == set(ALERTS)
    for text in headings.values():
        assert all(word in text for word in ("**Means**:", "**Look at**:", "**Do**:"))
