"""The first rows in each state of a start: Prometheus' own engine, series that are made up."""

from __future__ import annotations

import subprocess

import boards
import pytest
import starts
import yaml
from prometheus import PROMTOOL, needs_prometheus
from starts import (
    COLD,
    COMPILING,
    FAILED,
    KILLED,
    MINUTES,
    OF_FAILURE,
    READY,
    WARM,
    WORKERS,
    Process,
)

from grafana.source.fields import FAILED_COLOUR

pytestmark = needs_prometheus


def told(cache, start="first"):
    return f'{{cache="{cache}",compilespan_instance_id="{start}"}}'


def bar(part, seconds):
    return f'{{start=" ",part="{part}"}}', seconds


def said(start, text, job="llava"):
    at, cache = text.split(" · ")
    return (
        f'{{job="{job}",compilespan_instance_id="{start}",at="{at}",cache="{cache}",'
        f'said="{job} · {text}",said_here="{text}",start="{start}"}}'
    )


MENU = "start"
UNNAMED = (
    '{job="llava",at="00:00",cache="no cache",said="llava · 00:00 · no cache",'
    'said_here="00:00 · no cache",start="()"}'
)
BAR = "What the start was made of"

STATES = {
    "compiling": (
        [COMPILING],
        {
            "Compile time A": [("{}", 300)],
            "Compile time B": [],
            "Compile time D": [],
            "Compiling now, for A": [("{}", 300)],
            "Time to ready A": [('{cache="starting, for"}', 600)],
            f"{BAR} A": [bar("Import", 4), bar("Encoder", 300), bar("Rest to ready", 0)],
            MENU: [(said("first", "00:00 · starting"), 0)],
        },
    ),
    # The encoder is done, the language model has begun.
    "second": (
        [Process().compiled(14.75).compiles_for(5, "language_model")],
        {
            "Compile time A": [("{}", 14.75)],
            "Compile time B": [("{}", 300)],
            "Compiling now, for A": [],
            "Compiling now, for B": [("{}", 300)],
        },
    ),
    "ready": (
        [READY],
        {
            "Compile time A": [("{}", 14.75)],
            "Compile time B": [("{}", 25.5)],
            "Compile time D": [],
            "Compiling now, for A": [],
            "Time to ready A": [(told("cold"), 49)],
            "Failed A": [],
            "Graphs from the cache A": [('{graphs="3",hits="0",said="0 of 3"}', 0)],
            f"{BAR} A": [
                bar("Import", 2.25),
                bar("Load", 1.5),
                bar("Encoder", 14.75),
                bar("Language model", 25.5),
                bar("Waiting", 3),
                bar("Rest to ready", 2),
            ],
            MENU: [(said("first", "00:00 · cold"), 0)],
        },
    ),
    # All that was compiled has failed, and an artefact could not be loaded.
    "failed": (
        [
            Process()
            .compiled(1.2, **FAILED)
            .compiled(0.1, torch_compile_kind="load", **FAILED)
            .compiles_for(0)
        ],
        {
            "Compile time A": [],
            "Failed A": [("{}", 2)],
            "What to look at A": [
                (f'{{{OF_FAILURE},what="{what}: InductorError",code="{code}"}}', 1)
                for what, code in (("failed", "CS001"), ("could not be loaded", "CS002"))
            ],
        },
    ),
    # The latest comes first, the numbers are those of the one that is chosen.
    "restarted": (
        [COLD, WARM],
        {
            MENU: [(said("warm", "00:05 · warm"), 300), (said("cold", "00:00 · cold"), 0)],
            "Compile time A": [("{}", 3.5)],
            "Time to ready A": [(told("warm", "warm"), 7)],
            "Graphs from the cache A": [('{graphs="1",hits="1",said="1 of 1"}', 1)],
            # The other has ended: nobody is behind it.
            "Replicas B": [(told("warm", "warm"), 0)],
            "Replicas C": [(said("warm", "00:05 · warm"), 300)],
        },
    ),
    # What one waited for is the slowest; what it took is the sum.
    "workers": (
        WORKERS,
        {
            "Compile time A": [("{}", 2.25)],
            "Compile time D": [("{}", 3.5)],
            "Time to ready A": [(told("no cache"), 3.25)],
            "Ranks and workers B": [
                (f'{{job="llava",instance="worker-{number}"}}', seconds)
                for number, seconds in enumerate((2, 0.25, 0.25, 0))
            ],
        },
    ),
    # What was sent last is all there is: it is not "Nothing compiled", and no start that goes on.
    "killed": (
        [KILLED],
        {
            MENU: [(said("first", "00:00 · never ready"), 0)],
            "Compile time A": [("{}", 120)],
            "Compiling now, for A": [],
            "Time to ready A": [('{cache="never ready, for"}', 420)],
        },
    ),
    # The environment named the instance: a restart has the same, and what was sent before is seen
    # beside it for five minutes.
    "same name": (
        [
            Process("pod-0", "cold", lives="x3").ready(400),
            Process("pod-0", "warm", began_s=240, lives="x6").compiled(3.5).ready(7),
        ],
        {
            MENU: [(said("warm", "00:04 · no cache"), 240), (said("cold", "00:00 · no cache"), 0)],
            "Compile time A": [("{}", 3.5)],
            "Time to ready A": [(told("no cache", "warm"), 7)],
        },
    ),
    # Of another service, and no business of this one.
    "another's duplicate": (
        [
            Process("a").compiled(14.75).ready(20),
            Process("pod-0", "second", job="other"),
            Process("pod-0", "third", job="other"),
        ],
        {
            MENU: [(said("first", "00:00 · no cache"), 0)],
            "Compile time A": [("{}", 14.75)],
        },
    ),
    # A program's own SDK says nothing of starts: all of them are one.
    "own sdk": (
        [Process("a", None).compiled(14.75).ready(20)],
        {
            MENU: [(UNNAMED, 0)],
            "Compile time A": [("{}", 14.75)],
            "Time to ready A": [('{cache="no cache"}', 20)],
        },
    ),
    # The one that waits for the other imports for longer.
    "api server": (
        [
            Process("api").parts(**{"import": 50, "other": 10}),
            Process("engine").parts(**{"import": 4, "compile_encoder": 30, "other": 6}),
        ],
        {f"{BAR} A": [bar("Import", 4), bar("Encoder", 30), bar("Rest to ready", 6)]},
    ),
    "two services": (
        [
            Process("a", "first").compiled(14.75).ready(20),
            Process("b", "second", job="other").compiled(99).ready(100),
        ],
        {
            "Compile time A": [("{}", 14.75)],
            "Time to ready A": [(told("no cache"), 20)],
            MENU: [(said("first", "00:00 · no cache"), 0)],
        },
    ),
}
CHOSEN = {"restarted": "warm", "same name": "warm", "own sdk": "()"}
CASES = [(state, where) for state, (_, shown) in STATES.items() for where in shown]


def query(where, state, **chosen):
    """Return what stands there, or what fills the menu of starts."""
    chosen = {"start": CHOSEN.get(state, "first"), **chosen}
    if where != MENU:
        return boards.filled_in(boards.targets("expr")[f"compile-time: {where}"]["expr"], **chosen)
    variables = boards.DASHBOARDS["compile-time"]["templating"]["list"]
    (found,) = [each["query"]["query"] for each in variables if each["name"] == MENU]
    return boards.filled_in(found, **chosen).removeprefix("query_result(").removesuffix(")")


def promtool(directory, processes, expression, expected):
    path = directory / "test.yml"
    test = {
        "interval": "1m",
        "input_series": starts.together(processes),
        "promql_expr_test": [
            {
                "expr": expression,
                "eval_time": f"{MINUTES}m",
                "exp_samples": [{"labels": labels, "value": value} for labels, value in expected],
            }
        ],
    }
    path.write_text(yaml.safe_dump({"rule_files": [], "tests": [test]}))
    return subprocess.run(
        [PROMTOOL, "test", "rules", path], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(("state", "where"), CASES)
def test_the_first_rows_are_right_in_each_state(tmp_path, state, where):
    processes, shown = STATES[state]
    done = promtool(tmp_path, processes, query(where, state), shown[where])
    assert done.returncode == 0, done.stdout + done.stderr


def test_another_number_is_found(tmp_path):
    """The check above can fail."""
    expression, (processes, _) = query("Compile time A", "compiling"), STATES["compiling"]
    for wrong in ([("{}", 299)], []):
        assert promtool(tmp_path, processes, expression, wrong).returncode != 0


@pytest.mark.parametrize(
    ("hour", "minute", "at"), [("2", "0", "02:05"), ("19", "0", "19:05"), ("5", "30", "05:35")]
)
def test_a_start_is_named_in_the_time_of_whoever_looks(tmp_path, hour, minute, at):
    """Grafana says what it is there when it is midnight for Prometheus; west of it a day less."""
    zone = {"{__from:date:H}": hour, "{__from:date:m}": minute}
    expected = [(said("warm", f"{at} · warm"), 300)]
    expression = query(MENU, "restarted", **zone)
    done = promtool(tmp_path, [WARM], expression, expected)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_failed_is_red_and_in_the_first_row():
    first = {p["title"]: p for _, p in boards.panels() if p["gridPos"]["y"] == 0}
    *_, bad = first["Failed"]["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert bad == {"color": FAILED_COLOUR, "value": 1}
    assert set(first) >= {"Time to ready", "Compiling now, for", "Failed"}
