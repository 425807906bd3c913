"""A server beside files of a state directory that no process of ours wrote."""

from __future__ import annotations

import pytest
from server import Server

import bad_journals

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
