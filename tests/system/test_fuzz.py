"""Requests made from the OpenAPI document by Schemathesis, against a real process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from server import Server

pytestmark = pytest.mark.system

# Each is left out for a reason; what remains holds for every answer to every generated request.
EXCLUDED = (
    "use_after_free",  # DELETE cancels a job, which stays to be looked at
    "allow_header_conformance",  # Starlette answers with the first matching route's methods
)
PROBES = "readyz|startupz"  # their 503 is an answer, not an error of the server


@pytest.mark.parametrize(
    "options",
    [
        ("--exclude-path-regex", PROBES),
        ("--include-path-regex", PROBES, "--exclude-checks", "not_a_server_error"),
    ],
    ids=["api", "probes"],
)
def test_every_answer_is_one_that_the_schema_describes(options, tmp_path):
    with Server("eager_targets:net2", "--warmup", "on-request") as server:
        server.wait_for(lambda: server.client.get("/startupz").status_code == 200)
        before = server.resident_bytes()
        done = subprocess.run(
            [
                Path(sys.executable).with_name("schemathesis"),
                *("run", f"http://127.0.0.1:{server.port}/openapi.json"),
                *("--max-examples", "25", "--seed", "1", "--no-color"),
                *("--exclude-checks", ",".join(EXCLUDED)),
                *options,
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:]
        assert server.client.get("/livez").status_code == 200
        assert server.resident_bytes() - before < 256 * 2**20
        server.stop()
    assert "Traceback" not in server.output
