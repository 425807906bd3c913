"""Every PromQL query of the dashboards, asked of a real Prometheus with what real servers sent."""

from __future__ import annotations

import math
import random
import re
import time
from pathlib import Path

import boards
import pytest
from prometheus import Prometheus, needs_prometheus, write_blocks
from receiver import Receiver
from server import Server

pytestmark = [pytest.mark.system, needs_prometheus]

HERE = Path(__file__).parent
QUERIES = boards.targets("expr")


class Observed:
    """Prometheus that hold the same servers: sent OTLP, scraped, or sent and promoted."""

    def __init__(self, by, received, totals, ended_s):
        self.by = by
        self.received = received
        self.totals = totals
        self.ended_s = ended_s

    def rows(self, route, where, start="first"):
        """Return what a table or number shows, as (labels, value)."""
        return self.ask(route, QUERIES[where], start)

    def ask(self, route, target, start="first"):
        # The whole lasts less than a minute, the step of the subqueries.
        expression = boards.filled_in(target["expr"], service="compilespan", start=start)
        expression = expression.replace(":1m]", ":1s]")
        if target.get("range"):
            return self.by[route].query_range(expression, self.ended_s - 120, self.ended_s)
        return self.by[route].query(expression, self.ended_s)


def ready(server):
    """Whether it is ready, and has compiled again since."""
    serving = 'torch_compile_phase="serving"'
    return serving in server.client.get("/metrics").text


@pytest.fixture(scope="module")
def observed(tmp_path_factory, inductor_cache):
    """A cold start of rank 0, a warm one of rank 1 in the same start, and another start, warm."""
    root = tmp_path_factory.mktemp("observed")
    with Receiver() as receiver:
        env = {
            **receiver.environment(),
            "PYTHONPATH": str(HERE),
            "SALT": str(random.random()),
            "WORLD_SIZE": "2",
        }

        def server(start, rank):
            told = {**env, "COMPILESPAN_INSTANCE_ID": start, "RANK": rank}
            state = root / f"{start}-{rank}"
            return Server("observed_targets:targets", "--state-dir", str(state), env=told)

        servers = [server("first", "0"), server("first", "1"), server("second", "0")]
        (root / "scrape").mkdir()
        scraped = [f"127.0.0.1:{each.port}" for each in servers]
        with Prometheus(root / "scrape", scraped) as by_scrape:
            cold, *warm = servers
            with cold:
                cold.wait_for(lambda: ready(cold), 120)
                with warm[0], warm[1]:
                    for each in warm:
                        each.wait_for(lambda each=each: ready(each), 120)
                    time.sleep(3)  # some scrapes, some exports
                    totals = [each.client.get("/totals").json() for each in servers]
                    ended_s = time.time()  # later the scraped series are marked as gone
            sent = receiver.received.metric_requests
            for name in ("otlp", "promoted"):
                (root / name).mkdir()
                write_blocks(sent, root / name, promoted=name == "promoted")
            with Prometheus(root / "otlp") as by_otlp, Prometheus(root / "promoted") as promoted:
                by = {"otlp": by_otlp, "scrape": by_scrape, "promoted": promoted}
                yield Observed(by, receiver.received, totals, ended_s)


EVERY = ["otlp", "scrape", "promoted"]
ROUTES = pytest.mark.parametrize("route", EVERY)
TRANSFORMED = {
    panel["title"]: panel
    for _, panel in boards.panels()
    if panel["transformations"] and "expr" in panel["targets"][0]
}
# Nothing compiles any more: test_states.py has what does.
EMPTY = re.compile("Compiling now, for")


@pytest.fixture(scope="module")
def columns(observed, node):
    """What tables and bar charts have after Grafana's own code transformed the answers."""
    shown = [(route, title) for route in EVERY for title in TRANSFORMED]
    questions = [
        {
            "results": {
                each["refId"]: observed.ask(route, each) for each in TRANSFORMED[title]["targets"]
            },
            "transformations": TRANSFORMED[title]["transformations"],
        }
        for route, title in shown
    ]
    return dict(zip(shown, node("transform.cjs", questions), strict=True))


@ROUTES
@pytest.mark.parametrize("where", QUERIES)
def test_every_query_of_the_dashboards_returns_data(observed, where, route):
    answer = observed.ask(route, QUERIES[where])
    if EMPTY.search(where):
        assert answer == []
        return
    assert answer, boards.filled_in(QUERIES[where]["expr"])
    if not QUERIES[where].get("range"):
        assert not any(math.isnan(value) for _, value in answer), answer


@ROUTES
@pytest.mark.parametrize("title", TRANSFORMED)
def test_tables_and_bars_have_the_columns_that_they_name(columns, route, title):
    names = TRANSFORMED[title]["transformations"][-1]["options"]["renameByName"]
    found = columns[route, title]
    fields = boards.overridden(TRANSFORMED[title])
    for_links = [name for name, each in fields.items() if "custom.hideFrom" in each]
    there = {name for name, _ in found}
    if TRANSFORMED[title]["transformations"][0]["id"] == "groupingToMatrix":  # what there is
        assert there >= {"Start", "Import", "Load", "Encoder", "Language model", "Rest to ready"}
        names = {name: shown for name, shown in names.items() if shown in there}
    assert [name for name, _ in found] == [*names.values(), *for_links]
    assert all(values for _, values in found)


@ROUTES
def test_starts_are_bars_beside_each_other_oldest_first(observed, columns, route):
    bars = dict(columns[route, "By start"])
    assert [each.split(" · ")[1] for each in bars["Start"]] == ["cold", "warm"]
    assert all(re.match(r"\d\d:\d\d ", each) for each in bars["Start"])
    for component in ("encoder", "language_model"):
        first = sum(totals[component]["compile_s"] for totals in observed.totals[:2])
        second = observed.totals[2][component]["compile_s"]
        title = component.replace("_", " ").capitalize()
        assert bars[title] == pytest.approx([first, second])


@ROUTES
@pytest.mark.parametrize(
    ("slowest", "whole", "component"),
    [("A", "D", "encoder"), ("B", "E", "language_model"), ("C", "F", "other")],
)
def test_the_numbers_are_those_of_the_totals(observed, route, slowest, whole, component):
    ranks = [totals[component]["compile_s"] for totals in observed.totals[:2]]
    ((_, headline),) = observed.rows(route, f"compile-time: Compile time {slowest}")
    ((_, beside),) = observed.rows(route, f"compile-time: Compile time {whole}")
    assert headline == pytest.approx(max(ranks))
    assert beside == pytest.approx(sum(ranks))
    assert headline > 0
    # Of one process the sum says nothing new.
    ((_, alone),) = observed.rows(route, f"compile-time: Compile time {slowest}", "second")
    assert alone == pytest.approx(observed.totals[2][component]["compile_s"])
    assert observed.rows(route, f"compile-time: Compile time {whole}", "second") == []


@ROUTES
def test_a_start_with_a_miss_is_cold_and_the_other_warm(observed, route):
    for ref in "AB":
        seconds = {
            labels["starts"].split(" · ")[0]: value
            for labels, value in observed.rows(route, f"compile-time: Cold against warm {ref}")
        }
        assert set(seconds) == {"cold", "warm"}
        assert seconds["cold"] > seconds["warm"]
    slowest = observed.rows(route, "compile-time: Slowest starts A")
    assert {labels["compilespan_instance_id"] for labels, _ in slowest} == {"first", "second"}


@ROUTES
def test_ranks_are_apart_and_measured_against_the_fastest_of_their_start(observed, route):
    each, behind = (
        {
            labels["torch_distributed_rank"]: value
            for labels, value in observed.rows(route, f"compile-time: Ranks and workers {ref}")
        }
        for ref in "AB"
    )
    assert set(each) == set(behind) == {"0", "1"}
    assert behind["0"] == pytest.approx(each["0"] - each["1"], abs=1e-6)
    assert behind["1"] == 0


@ROUTES
def test_the_parts_are_those_of_the_start_that_is_chosen(observed, route):
    for start, totals in (("first", observed.totals[0]), ("second", observed.totals[2])):
        parts = {
            labels["part"]: value
            for labels, value in observed.rows(
                route, "slow-start: What the start was made of A", start
            )
        }
        of_start = totals["start"]
        assert parts["Import"] == pytest.approx(of_start["import"])
        assert parts["Load"] == pytest.approx(of_start["load"])
        compiled = [parts[title] for title in ("Encoder", "Language model", "Other")]
        assert sum(compiled) == pytest.approx(of_start["compile"])
        assert min(compiled) > 0
        assert sum(parts.values()) == pytest.approx(totals["ready_after_s"])


@ROUTES
def test_stages_are_those_of_the_totals(observed, route):
    shown: dict[str, float] = {}
    for ref in "ABC":
        for labels, value in observed.rows(route, f"compile-time: Compile time by stage {ref}"):
            stage = labels["torch_compile_stage"]
            shown[stage] = shown.get(stage, 0.0) + value
    expected: dict[str, float] = {}
    for totals in observed.totals[:2]:
        for stage, seconds in totals["by_stage"].items():
            expected[stage] = expected.get(stage, 0.0) + seconds
    assert shown == pytest.approx(expected)


@ROUTES
def test_what_went_wrong_is_counted_with_its_reason(observed, route):
    recompiles = observed.rows(route, "compile-time: Recompiles, and what changed A")
    assert [value for _, value in recompiles] == [2]
    assert {labels["torch_compile_recompile_reason_class"] for labels, _ in recompiles} == {"size"}
    failed = observed.rows(route, "compile-time: Failed compiles A")
    assert [value for _, value in failed] == [2]
    assert all(labels["error_type"] for labels, _ in failed)
    ((_, limit),) = observed.rows(route, "compile-time: Frames over the recompile limit A")
    assert limit == 2
    found = observed.rows(route, "compile-time: What to look at A")
    assert {labels["code"] for labels, _ in found} == {"CS001", "CS003", "CS010"}


def test_from_metric_to_trace_by_exemplars(observed):
    spans = {(span.trace_id, span.span_id) for span in observed.received.named("torch.compile")}
    exemplars = {
        (exemplar.trace_id.hex(), exemplar.span_id.hex())
        for request in observed.received.metric_requests
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "torch.compile.duration"
        for point in metric.histogram.data_points
        for exemplar in point.exemplars
    }
    assert exemplars
    assert exemplars <= spans
