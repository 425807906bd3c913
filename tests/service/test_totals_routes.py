"""GET /totals and the probes' bodies."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from compilespan import get_ledger, monitor_torch_compile
from compilespan.journal.writer import open_journal
from serving import Model

COLUMNS = {
    "compile_s",
    "wall_s",
    "failed_s",
    "load_s",
    "kernel_s",
    "longest_s",
    "compiles",
    "skipped",
    "failed",
    "loads",
    "captures",
    "kernels",
    "recompiles",
    "graphs",
    "cache_hits",
    "cache_misses",
    "cache_bypasses",
    "cache_rebuilds",
    "cpu_s",
    "cpu_wait_s",
}


def test_totals_have_the_rows_and_columns_of_the_contract(serve):
    client = serve(Model())
    client.post("/warmup?wait=60")
    totals = client.get("/totals").json()
    assert set(totals) == {
        "schema",
        "scope",
        "since",
        "as_of",
        "ready_after_s",
        "versions",
        "encoder",
        "language_model",
        "other",
        "total",
        "by_phase",
        "by_name",
        "by_process",
        "by_stage",
        "start",
        "cache",
        "in_progress",
    }
    cost_s = totals["total"]["compile_s"] + totals["total"]["failed_s"]
    assert sum(totals["by_stage"].values()) == pytest.approx(cost_s)
    assert sum(totals["start"].values()) == pytest.approx(totals["ready_after_s"], abs=1e-6)
    rows = [totals["encoder"], totals["language_model"], totals["total"]]
    for key in ("by_phase", "by_name", "by_process"):
        rows += totals[key].values()
    assert all(set(row) == COLUMNS for row in rows)
    assert set(totals["scope"]) == {"kind", "instance", "processes", "complete"}
    assert totals["ready_after_s"] == get_ledger().readiness.after_s
    assert totals["versions"]["torch"].startswith("2.")
    assert list(totals["by_name"]) == ["Net"]
    assert list(totals["by_phase"]) == ["warmup"]
    assert totals["total"]["compiles"] == 3


def test_what_compiles_now_is_in_progress(serve):
    model = Model()
    client = serve(model)
    model.hold()
    client.post("/warmup")
    assert model.entered.wait(20)
    (begun,) = client.get("/totals").json()["in_progress"]
    assert (begun["name"], begun["is_encoder"], begun["graphs"]) == ("Net", False, 0)
    assert begun["elapsed_s"] > 0
    health = client.get("/livez").json()
    assert (health["state"], health["phase"]) == ("cold", "warmup")
    assert health["elapsed_s"] > 0


def test_an_instance_of_several_processes_is_added_up(serve, tmp_path):
    """And the processes of other starts are not."""
    open_journal(tmp_path)
    code = (
        "from compilespan import monitor_torch_compile, get_ledger\n"
        "with monitor_torch_compile('childs', is_encoder=True, kind='compile'): pass\n"
        "get_ledger().journal.close('done')\n"
    )
    for instance in ("test-instance", "test-instance", "another"):
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "COMPILESPAN_INSTANCE_ID": instance},
            check=True,
            timeout=60,
        )
    with monitor_torch_compile("parents", is_encoder=False, kind="compile"):
        pass
    client = serve(Model())
    totals = client.get("/totals").json()
    assert totals["scope"] == {
        "kind": "instance",
        "instance": "test-instance",
        "processes": 3,
        "complete": True,
    }
    assert totals["encoder"]["compiles"] == 2
    assert totals["language_model"]["compiles"] == 1
    assert totals["total"]["compiles"] == 3
    assert set(totals["by_name"]) == {"childs", "parents"}
    assert len(totals["by_process"]) == 3
    alone = client.get("/totals?scope=process").json()
    assert alone["scope"]["kind"] == "process"
    assert (alone["scope"]["processes"], alone["total"]["compiles"]) == (1, 1)


def test_a_journal_that_cannot_be_read_makes_them_incomplete(serve, tmp_path):
    journal = open_journal(tmp_path)
    assert journal.flush()
    lines = journal.path.read_text().replace(f'"pid":{os.getpid()}', '"pid":1')
    (tmp_path / "99990101T000000-test-instance-1.jsonl").write_text(lines + "nonsense\n")
    totals = serve(Model()).get("/totals").json()
    assert totals["scope"]["complete"] is False
    assert totals["scope"]["processes"] == 2


@pytest.mark.parametrize("scope", ["all", ""])
def test_an_unknown_scope_is_told(serve, scope):
    response = serve(Model()).get(f"/totals?scope={scope}")
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "query.scope"
