"""The compile cache of a fleet with real compiles: a follower builds nothing, from files and S3."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
pytest.importorskip("fsspec")

WARM = """
import json, sys
import torch
from compilespan import TorchCompileInstrumentor, WarmupTarget, get_ledger, mark_ready, warm

if "avx2" in sys.argv:
    from torch._inductor import cpu_vec_isa
    cpu_vec_isa.valid_vec_isa_list = lambda: [cpu_vec_isa.VecAVX2()]
TorchCompileInstrumentor().instrument()
module = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU()).eval()
model = torch.compile(module, dynamic=False)
def run(shape):
    with torch.inference_mode():
        model(torch.ones(shape["batch"], 8))
targets = [WarmupTarget("net", run, [{"batch": 2}, {"batch": 3}])]
if "explicit" in sys.argv:
    result = warm(targets, cache=sys.argv[-1])
else:
    result = warm(targets)
    mark_ready()
start = get_ledger().start().parts_s
print(json.dumps([[r.cache_result for r in get_ledger().records()], result.state, start["load"]]))
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Return a function that runs the program with an empty cache directory of its own."""

    def run(name, *arguments, **env):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("COMPILESPAN_", "OTEL_"))}
        done = subprocess.run(
            [sys.executable, "-c", WARM, *arguments],
            env={**kept, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / name), **env},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        results, state, load_s = json.loads(done.stdout.splitlines()[-1])
        assert state == "succeeded"
        return results, load_s, done.stderr

    return run


def libraries(directory):
    return {path.name: path.stat().st_mtime_ns for path in directory.rglob("*.so")}


def test_a_follower_hits_and_builds_no_cpp(program, tmp_path):
    url = f"file://{tmp_path}/store"
    results, _, _ = program("builder", "explicit", url)
    assert results == ["miss", "miss"]
    results, load_s, _ = program("follower", "explicit", url)
    assert results == ["hit", "hit"]
    assert load_s > 0  # it waited for the store, which is no compile time
    # All that it has came from the store: it built nothing under another name either.
    assert libraries(tmp_path / "follower").keys() == libraries(tmp_path / "builder").keys()
    if torch.backends.cpu.get_cpu_capability() != "AVX2":  # else that is what it had
        results, _, _ = program("narrower", "avx2", "explicit", url)
        assert results == ["miss", "miss"]  # the builder's graphs would have been hits


def test_the_environment_is_enough_and_s3_is_a_store(program, tmp_path, s3):
    key = tmp_path / "key"
    key.write_text("k" * 40)
    shared = {**s3, "COMPILESPAN_CACHE_URL": "s3://bucket/cache"}
    results, _, errors = program("refused", **shared)
    assert results == ["miss", "miss"]
    assert "COMPILESPAN_CACHE_KEY_FILE" in errors
    signed = {**shared, "COMPILESPAN_CACHE_KEY_FILE": str(key)}
    assert program("builder", **signed)[0] == ["miss", "miss"]
    assert program("follower", **signed)[0] == ["hit", "hit"]


def test_a_store_that_is_down_costs_a_warning(program):
    results, _, errors = program(
        "builder",
        COMPILESPAN_CACHE_URL="ftp://127.0.0.1:9/cache",
        COMPILESPAN_CACHE_UNSIGNED="1",
    )
    assert results == ["miss", "miss"]
    assert "failed to fetch the compile cache at ftp://127.0.0.1:9/cache: " in errors
    assert "ConnectionRefusedError" in errors


@pytest.fixture
def s3():
    """Start an S3 server with a bucket; return the environment of its clients."""
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    import boto3

    server = moto.ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    client = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="bucket")
    yield environment
    server.stop()
