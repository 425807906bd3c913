"""GET /compiles and GET /history."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from compilespan import get_ledger, monitor_torch_compile
from compilespan.journal.writer import open_journal
from serving import Model


def compile_block(name, **options):
    with monitor_torch_compile(name, kind="compile", **options):
        pass


def test_records_come_newest_first_with_the_numbers_of_the_ledger(serve):
    client = serve(Model())
    client.post("/warmup?wait=60")
    records = client.get("/compiles").json()
    assert [each["duration_s"] for each in records] == [
        record.duration_s for record in reversed(get_ledger().records())
    ]
    assert [each["phase"] for each in records] == ["warmup"] * 3
    assert [each["is_recompile"] for each in records] == [True, True, False]
    assert "size mismatch" in records[0]["recompile_reason"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["failed", "tower", "llama"]),
        ("is_encoder=true", ["tower"]),
        ("is_encoder=false", ["failed", "llama"]),
        ("outcome=failed", ["failed"]),
        ("name=llama", ["llama"]),
        ("name=llama&is_encoder=true", []),
        ("phase=serving", []),
        ("kind=load", []),
        ("limit=1", ["failed"]),
    ],
)
def test_filters(serve, query, names):
    client = serve(Model())
    compile_block("llama")
    compile_block("tower", is_encoder=True)
    with pytest.raises(ValueError, match="x"), monitor_torch_compile("failed", kind="compile"):
        raise ValueError("x")
    assert [each["name"] for each in client.get(f"/compiles?{query}").json()] == names


@pytest.mark.parametrize("query", ["phase=lunch", "limit=0", "limit=1e9", "is_encoder=maybe"])
def test_a_wrong_filter_is_told(serve, query):
    response = serve(Model()).get(f"/compiles?{query}")
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"].startswith("query.")


CHILD = """
import time
from compilespan import monitor_torch_compile, get_ledger, mark_ready
with monitor_torch_compile("tower", is_encoder=True) as monitor:
    monitor.add_event("torch.compile.graph", {{"torch.compile.cache.result": "{result}"}})
mark_ready()
{then}
"""


def child(instance, result, then, *, kill=False):
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(result=result, then=then)],
        env={**os.environ, "COMPILESPAN_INSTANCE_ID": instance},
        stdout=subprocess.PIPE,
        text=True,
    )
    if kill:
        assert process.stdout.readline() == "compiling\n"
        time.sleep(1.5)
        process.send_signal(signal.SIGKILL)
    process.wait(60)
    process.stdout.close()
    return process.pid


def test_history_tells_each_start_and_how_it_ended(serve, tmp_path):
    open_journal(tmp_path)
    child("one", "miss", "")
    child("two", "hit", "get_ledger().journal.close('shutdown')")
    killed = child(
        "three",
        "hit",
        "with monitor_torch_compile('llama'): print('compiling', flush=True); time.sleep(60)",
        kill=True,
    )
    compile_block("mine")
    starts = {start["instance"]: start for start in serve(Model()).get("/history").json()}
    assert set(starts) == {"one", "two", "three", "test-instance"}
    assert [(starts[name]["cache"], starts[name]["ended"]) for name in ("one", "two", "three")] == [
        ("cold", "exit"),
        ("warm", "shutdown"),
        ("warm", "killed"),
    ]
    assert starts["one"]["encoder"]["compiles"] == 1
    assert starts["one"]["ready_after_s"] > 0
    assert starts["one"]["versions"]["torch"].startswith("2.")
    assert starts["one"]["interrupted"] == []
    (interrupted,) = starts["three"]["interrupted"]
    assert (interrupted["name"], interrupted["pid"]) == ("llama", killed)
    assert 0.5 < interrupted["elapsed_s"] < 30
    mine = starts["test-instance"]
    assert (mine["ended"], mine["total"]["compiles"]) == ("running", 1)


def test_the_history_of_a_first_start_is_itself(serve):
    client = serve(Model())
    (start,) = client.get("/history").json()
    assert start["ended"] == "running"
    assert start["instance"] == client.get("/totals").json()["scope"]["instance"]


def test_without_a_directory_that_can_be_written_it_works_from_memory(serve, tmp_path):
    (tmp_path / "file").write_text("")
    client = serve(Model(), state_dir=tmp_path / "file")
    assert client.post("/warmup?wait=60").status_code == 200
    assert client.get("/history").json() == []
    assert client.get("/totals").json()["total"]["compiles"] == 3
    assert len(client.get("/compiles").json()) == 3
