"""GET /metrics: what a scrape sees."""

from __future__ import annotations

import json
import time
from importlib.resources import files

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from compilespan import get_ledger, mark_ready
from compilespan.ledger.active import CompileBegun
from compilespan.ledger.cache_use import CacheUse
from serving import Model, in_thread, wait_until
from support import record

REGISTRY = files("compilespan").joinpath("registry/compilespan.yaml").read_text("utf-8")
METRICS = [group for group in yaml.safe_load(REGISTRY)["groups"] if group["type"] == "metric"]


def families(client):
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    return {family.name: family for family in text_string_to_metric_families(response.text)}


def value(client, name, **labels):
    return sum(
        sample.value
        for family in families(client).values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_every_metric_of_the_schema_is_there_with_the_names_prometheus_gives_them(serve):
    client = serve(Model(sizes=range(1, 12)))
    client.post("/warmup?wait=60")
    get_ledger().followers.note_dropped("journal", 2)
    get_ledger().note_cache_use(CacheUse(quarantined=3))
    key = get_ledger().prepare()
    get_ledger().begin(CompileBegun(key, "net", "other", 1, 1))
    get_ledger().end(key, record(cache_rebuilds=1))
    mark_ready()
    found = families(client)
    for metric in METRICS:
        name = metric["metric_name"].replace(".", "_")
        name += {"s": "_seconds"}.get(metric["unit"], "")
        assert name in found, sorted(found)
    assert value(client, "torch_compile_recompile_limit_hits_total") == 1
    assert value(client, "compilespan_telemetry_dropped_total", compilespan_signal="journal") == 2
    assert value(client, "torch_compile_cache_rebuilds_total") == 1
    assert value(client, "compilespan_cache_quarantines_total") == 3


def test_the_numbers_are_those_of_the_totals(serve):
    client = serve(Model())
    client.post("/warmup?wait=60")
    for _ in range(2):  # a second scrape counts nothing again
        total = client.get("/totals").json()["other"]
        count = value(client, "torch_compile_duration_seconds_count", is_encoder="false")
        assert count == total["compiles"] == 3
        assert value(client, "torch_compile_duration_seconds_sum") == pytest.approx(
            total["compile_s"], abs=1e-9
        )
        assert value(client, "torch_compile_recompiles_total") == total["recompiles"]
        assert value(client, "torch_compile_graphs_total") == total["graphs"]
        assert value(client, "compilespan_warmup_duration_seconds_count") == 1
        assert value(client, "compilespan_ready") == 1


def test_what_compiles_now_is_seen(serve):
    model = Model()
    client = serve(model)
    model.hold()
    assert value(client, "torch_compile_active_compiles", is_encoder="false") == 0
    with in_thread(lambda: client.post("/warmup?wait=60")):
        wait_until(model.entered.is_set)
        assert value(client, "torch_compile_active_compiles", is_encoder="false") == 1
        assert value(client, "torch_compile_oldest_active_age_seconds") > 0
        model.go_on.set()
    assert value(client, "torch_compile_active_compiles") == 0


def test_openmetrics_where_it_is_asked_for(serve):
    response = serve(Model()).get("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert list(openmetrics(response.text))


def test_between_two_scrapes_any_number_of_records_is_counted(serve, tmp_path):
    """More than a process keeps: 4,096 of its own, and as many of another."""
    client = serve(Model())
    before = value(client, "torch_compile_duration_seconds_count")
    ledger = get_ledger()
    journal = ledger.journal
    other = journal.path.with_name("20200101T000000-test-instance-1.jsonl")
    who = {"instance": "test-instance", "pid": 1, "started_ns": 1, "versions": {}}
    lines = [json.dumps({"type": "process", "format": 1, **who})]
    other.write_text(f"{lines[0]}\n")
    assert value(client, "torch_compile_duration_seconds_count") == before
    one = record().to_json()
    with other.open("a") as file:
        for key in range(6000):
            file.write(json.dumps({"type": "end", "key": key, "record": one}) + "\n")
    for count in range(6000):
        key = ledger.prepare()
        ledger.begin(CompileBegun(key, "a", "other", 1, 1))
        ledger.end(key, record())
        if count % 100 == 0:  # still faster than anything compiles: a queue may be read, too
            time.sleep(0.01)
    wait_until(lambda: value(client, "torch_compile_duration_seconds_count") == before + 12_000)
    assert value(client, "torch_compile_duration_seconds_count") == before + 12_000
