"""The first row in each state of a start, by Prometheus' own engine and series that are made up."""

from __future__ import annotations

import subprocess

import boards
import pytest
import yaml
from prometheus import PROMTOOL, needs_prometheus

from grafana.source.panels import FAILED_COLOUR

pytestmark = needs_prometheus

NOW = "10m"
COMPILE = {
    "job": "llava",
    "instance": "one",
    "torch_compile_name": "CLIPVisionModel",
    "torch_compile_kind": "compile",
    "torch_compile_component": "encoder",
    "torch_compile_outcome": "ok",
}
PROCESS = {"job": "llava", "instance": "one"}


def series(name, values, **labels):
    told = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return {"series": f"{name}{{{told}}}", "values": values}


def seconds(values, **labels):
    return series("torch_compile_duration_seconds_sum", values, **{**COMPILE, **labels})


def age(values, component="encoder"):
    return series(
        "torch_compile_oldest_active_age_seconds",
        values,
        **PROCESS,
        torch_compile_component=component,
    )


READY = series("compilespan_startup_duration_seconds", "_x5 1308x5", **PROCESS)
FAILED = {"torch_compile_outcome": "failed"}
MODEL = {"torch_compile_component": "language_model", "torch_compile_name": "Llama"}

STATES = {
    # An encoder has been compiling for five minutes, and nothing has ended yet.
    "compiling": (
        [age("_x5 0+60x5")],
        {"Encoder": 300, "Compiling now, for": 300, "Language model": None, "Time to ready": None},
    ),
    # The encoder is done, the language model has begun.
    "second": (
        [seconds("14.9x10"), age("0x10"), age("_x5 0+60x5", "language_model")],
        {"Encoder": 14.9, "Language model": 300, "Compiling now, for": 300},
    ),
    "ready": (
        [seconds("14.9x10"), seconds("25.6x10", **MODEL), age("0x10"), READY],
        {
            "Encoder": 14.9,
            "Language model": 25.6,
            "Compiling now, for": None,
            "Time to ready": 1308,
            "Failed": None,
        },
    ),
    # All that was compiled has failed.
    "failed": (
        [seconds("1.2x10", **FAILED), age("0x10")],
        {"Encoder": None, "Failed": 1.2, "Compiling now, for": None},
    ),
}
CASES = [(state, title) for state, (_, shown) in STATES.items() for title in shown]


def promtool(directory, state, title, value):
    inputs, _ = STATES[state]
    target = boards.targets("expr")[f"compile-time: {title} A"]
    expected = [] if value is None else [{"labels": "{}", "value": value}]
    expression = boards.filled_in(target["expr"])
    path = directory / "test.yml"
    test = {
        "interval": "1m",
        "input_series": inputs,
        "promql_expr_test": [{"expr": expression, "eval_time": NOW, "exp_samples": expected}],
    }
    path.write_text(yaml.safe_dump({"rule_files": [], "tests": [test]}))
    return subprocess.run(
        [PROMTOOL, "test", "rules", path], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(("state", "title"), CASES)
def test_the_headline_is_right_in_each_state(tmp_path, state, title):
    done = promtool(tmp_path, state, title, STATES[state][1][title])
    assert done.returncode == 0, done.stdout + done.stderr


def test_another_number_is_found(tmp_path):
    """The check above can fail."""
    assert promtool(tmp_path, "compiling", "Encoder", 299).returncode != 0
    assert promtool(tmp_path, "compiling", "Encoder", None).returncode != 0


def test_what_failed_is_red_and_in_the_first_row():
    first = {p["title"]: p for _, p in boards.panels() if p["gridPos"]["y"] == 0}
    colour = first["Failed"]["fieldConfig"]["defaults"]["color"]["fixedColor"]
    assert colour == FAILED_COLOUR
    assert set(first) >= {"Time to ready", "Compiling now, for", "Encoder", "Failed"}
