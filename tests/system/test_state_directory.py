"""A server beside files of a state directory that no process of ours wrote."""

from __future__ import annotations

import pytest
from server import Server

import bad_journals
from compilespan.journal.summary import Summary

pytestmark = pytest.mark.system

PATHS = ("/livez", "/readyz", "/warmup", "/warmup/jobs", "/totals", "/compiles", "/history")


def test_a_server_survives_every_bad_file_and_tells_right_numbers_beside_them(tmp_path):
    bad_journals.write(tmp_path, "bad")
    bad_journals.write(tmp_path, "own")
    environment = {"COMPILESPAN_STATE_DIR": str(tmp_path), "COMPILESPAN_INSTANCE_ID": "own"}
    with Server("eager_targets:net3", env=environment) as server:
        server.wait_for(lambda: server.client.get("/readyz").status_code == 200)
        for _ in range(2):
            for path in (*PATHS, "/metrics", "/compiles/trace.json", "/"):
                answer = server.client.get(path)
                assert answer.status_code == 200, (path, answer.text)
        totals = server.client.get("/totals").json()
        assert totals["total"]["compiles"] == 3
        assert totals["total"] == server.client.get("/totals?scope=process").json()["total"]
        assert totals["scope"]["complete"] is False
        metrics = server.client.get("/metrics").text
        count = sum(
            float(line.rpartition(" ")[2])
            for line in metrics.splitlines()
            if line.startswith("torch_compile_duration_seconds_count{")
        )
        assert count == 3
        assert 'compilespan_job_state="s1' not in metrics
        assert server.stop() == 0
    assert "Traceback" not in server.output


def test_a_file_that_comes_later_harms_no_running_server(tmp_path):
    environment = {"COMPILESPAN_STATE_DIR": str(tmp_path), "COMPILESPAN_INSTANCE_ID": "own"}
    with Server("eager_targets:net2", env=environment) as server:
        server.wait_for(lambda: server.client.get("/readyz").status_code == 200)
        before = server.client.get("/totals").json()["total"]
        bad_journals.write(tmp_path, "own")
        for path in (*PATHS, "/metrics"):
            assert server.client.get(path).status_code == 200, path
        assert server.client.get("/totals").json()["total"] == before


@pytest.mark.long
def test_a_server_begins_beside_a_long_history_and_tells_it_newest_first(tmp_path):
    """250 starts of 100 compiles, all killed: no figure waits for them."""
    record = {**bad_journals.RECORD, "name": "old"}
    lines = [{"type": "end", "key": key, "record": record} for key in range(100)]
    for number in range(250):
        content = bad_journals.with_lines(*lines, instance=f"old-{number:03}")
        started = f"2020{number // 28 + 1:02}{number % 28 + 1:02}T000000"
        (tmp_path / f"{started}-old-{number:03}-1.jsonl").write_bytes(content)
    environment = {"COMPILESPAN_STATE_DIR": str(tmp_path)}
    newest = [f"old-{number:03}" for number in range(249, 150, -1)]
    for _ in range(2):
        with Server("eager_targets:net3", env=environment) as server:
            server.wait_for(lambda: server.client.get("/readyz").status_code == 200)
            totals = server.client.get("/totals").json()
            assert (totals["total"]["compiles"], totals["scope"]["processes"]) == (3, 1)
            assert len(server.client.get("/warmup/jobs").json()) == 1
            server.wait_for(lambda: len(server.client.get("/history").json()) == 100, timeout_s=60)
            history = server.client.get("/history").json()
            assert server.stop() == 0
        old = [start for start in history if start["instance"].startswith("old")]
        assert {start["instance"] for start in old} <= set(newest)
        assert {(start["total"]["compiles"], start["ended"]) for start in old} == {(100, "killed")}
        assert "Traceback" not in server.output
    # Each was read whole once; what it came to stands at its end.
    with_summary = [path for path in tmp_path.iterdir() if Summary.at_end_of(path) is not None]
    assert len(with_summary) >= len(old)
