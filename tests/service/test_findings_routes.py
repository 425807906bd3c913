"""``GET /findings``: what cost the most, with the fix."""

from __future__ import annotations

import pytest
import torch

from compilespan import WarmupTarget, get_ledger
from compilespan.journal.writer import open_journal
from serving import Model


def test_what_cost_the_most_is_told_with_the_fix(serve):
    client = serve(Model())
    assert client.get("/findings").json() == []
    client.post("/warmup?wait=60")
    (finding,) = client.get("/findings").json()
    assert (finding["code"], finding["name"], finding["count"]) == ("CS010", "Net", 2)
    recompiles = [each for each in client.get("/compiles").json() if each["is_recompile"]]
    assert finding["seconds"] == pytest.approx(sum(each["duration_s"] for each in recompiles))
    assert "TORCH_COMPILE_DYNAMIC_SOURCES" in finding["fix"]
    assert finding["file"].endswith("serving.py")


def test_failures_come_first(serve):
    model = Model()
    model.failing = {2}
    client = serve(model)
    client.post("/warmup?wait=60")
    found = client.get("/findings").json()
    assert (found[0]["code"], found[0]["is_serious"]) == ("CS001", True)


def test_items_that_run_eager_are_found(serve):
    plain = torch.nn.Linear(2, 2)
    target = WarmupTarget("plain", lambda _: plain(torch.zeros(1, 2)), [{}])
    client = serve(factory=[target])
    client.post("/warmup?wait=60")
    (finding,) = client.get("/findings").json()
    assert (finding["code"], finding["name"]) == ("CS080", "plain")


def test_other_processes_count(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("COMPILESPAN_STATE_DIR", str(tmp_path))
    journal = open_journal(tmp_path)
    client = serve(Model())
    client.post("/warmup?wait=60")
    journal.flush()
    own = journal.path
    text = own.read_text().replace(f'"pid":{own.stem.rpartition("-")[2]}', '"pid":1')
    own.with_name(own.name.replace(own.stem.rpartition("-")[2], "1")).write_text(text)
    assert get_ledger().records()
    codes = {each["code"]: each["count"] for each in client.get("/findings").json()}
    assert codes["CS010"] == 4
    assert client.get("/totals").json()["scope"]["processes"] == 2


def test_a_process_that_only_imported_is_no_process_of_the_totals(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("COMPILESPAN_STATE_DIR", str(tmp_path))
    journal = open_journal(tmp_path)
    client = serve(Model())
    journal.flush()
    who = journal.path.read_text().splitlines()[0]
    pid = journal.path.stem.rpartition("-")[2]
    mark = '{"type":"mark","part":"import","start_ns":1,"end_ns":2,"name":"vllm","thread_id":1}'
    other = journal.path.with_name(journal.path.name.replace(pid, "1"))
    other.write_text(who.replace(f'"pid":{pid}', '"pid":1') + f"\n{mark}\n")
    totals = client.get("/totals").json()
    assert totals["scope"]["processes"] == 1
    assert totals["scope"]["complete"] is True
