"""Several API servers, data and tensor parallel: some process serves, some other has the engine."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess

import pytest
from vllm_serve import Serving

from compilespan.journal.directory import StateDirectory

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

KEY = "k3y"
NOT_COMPILED = ("--compilation-config", '{"mode":0}')
PROBES = ("/livez", "/readyz", "/startupz")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    return key, certificate


def ended(state):
    """Return how the process ended that was started."""
    first = min(StateDirectory(state).processes(), key=lambda each: each.process["started_ns"])
    return first.exit_reason


def test_two_servers_on_one_port_with_tls_keys_and_a_root_path(models, served_before, certificate):
    """After a start of the same model: what it compiled is loaded."""
    key, certified = certificate
    trusted = ssl.create_default_context(cafile=str(certified))
    options = (
        *("--api-server-count", "2", "--root-path", "/llm", "--api-key", "first", KEY),
        *("--ssl-keyfile", str(key), "--ssl-certfile", str(certified)),
    )
    state = served_before / "two"
    env = {"COMPILESPAN_STATE_DIR": str(state), "VLLM_API_KEY": "not-this-one"}
    with Serving(models / "qwen", served_before, *options, tls=trusted, **env) as serving:
        for _ in range(4):  # whichever of the two it is
            assert [serving.get(probe).status_code for probe in PROBES] == [200] * 3
            assert serving.get("/totals").status_code == 401
            assert serving.get("/totals", "not-this-one").status_code == 401
            totals = serving.get("/totals", KEY).json()
            assert totals["scope"]["processes"] == 4  # the launcher, two servers, a worker
            assert totals["by_name"]["backbone"]["loads"] == 1
            assert totals["ready_after_s"] > 0
            assert "torch_compile" not in serving.get("/metrics").text
            metrics = serving.get("/metrics", KEY).text
            assert "vllm:" in metrics
            assert 'torch_compile_name="backbone"' in metrics
        assert {item["state"] for item in serving.warm(KEY)} == {"warm"}
        (start,) = serving.get("/history", KEY).json()
        assert (start["cache"], start["ended"]) == ("warm", "running")
    assert ended(state) == "exit"


def test_each_data_parallel_engine_is_warmed_and_one_that_is_killed_is_no_exit(models, tmp_path):
    options = ("--data-parallel-size", "2", "--api-key", KEY, *NOT_COMPILED)
    env = {"COMPILESPAN_VLLM_PROMPT_LENGTHS": "16"}
    serving = Serving(models / "qwen", tmp_path, *options, **env).__enter__()
    try:
        assert [serving.get(probe).status_code for probe in PROBES] == [200] * 3
        items = serving.warm(KEY)
        assert {item["shape"]["data_parallel_rank"] for item in items} == {0, 1}
        assert {item["state"] for item in items} == {"warm"}
        compiled = [item for item in items if item["compile_s"]]
        assert {item["shape"]["data_parallel_rank"] for item in compiled} == {0, 1}
        totals = serving.get("/totals", KEY).json()
        assert len(totals["by_process"]) == 2
        engine = next(
            int(each.process["pid"])
            for each in StateDirectory(tmp_path / "state").processes()
            if each.record_count
        )
        os.kill(engine, signal.SIGKILL)
        assert serving.process.wait(60) != 0
    finally:
        serving.client.close()
        serving.process.kill()
    assert ended(tmp_path / "state") == "failed"


def test_two_tensor_parallel_ranks_by_a_socket_and_the_middleware_of_older_versions(
    models, tmp_path
):
    socket = str(tmp_path / "s")
    options = (
        *("--tensor-parallel-size", "2", "--api-key", KEY, *NOT_COMPILED),
        *("--middleware", "compilespan_service.vllm.CompileRoutes"),
    )
    env = {"VLLM_CPU_OMP_THREADS_BIND": "0|1", "NO_ENDPOINT_PLUGINS": "1"}
    with Serving(models / "qwen", tmp_path, *options, uds=socket, **env) as serving:
        assert [serving.get(probe).status_code for probe in PROBES] == [200] * 3
        assert serving.get("/totals").status_code == 401
        assert {item["state"] for item in serving.warm(KEY)} == {"warm"}
        totals = serving.get("/totals", KEY).json()
        assert totals["scope"]["processes"] == 3  # the server and two workers
        # Only the first rank samples, and compiles what that needs.
        assert totals["total"]["compiles"] >= 1
        assert "vllm:" in serving.get("/metrics").text
        assert serving.get("/totalsfoo").status_code == 404
