"""The compile cache of a fleet with real compiles: a follower builds nothing, from files and S3."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from torch._inductor import codecache

from compilespan.cache.shared import SharedCache

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(600)]
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
start, totals = get_ledger().start().parts_s, get_ledger().totals()
codes = [each.code for each in result.findings]
print(json.dumps({
    "results": [r.cache_result for r in get_ledger().records()],
    "state": result.state, "load_s": start.get("load", 0.0), "wait_s": start.get("wait", 0.0),
    "cache": totals.cache.to_json(), "rebuilds": totals.total.cache_rebuilds, "codes": codes,
}))
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Return a function that runs the program with a cache directory of its own."""

    def run(name, *arguments, **env):
        return finished(start(name, *arguments, **env))

    def start(name, *arguments, **env):
        temporary = tmp_path / f"{name}-tmp"
        temporary.mkdir(exist_ok=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("COMPILESPAN_", "OTEL_"))}
        return subprocess.Popen(
            [sys.executable, "-c", WARM, *arguments],
            env={
                **kept,
                "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / name),
                "TMPDIR": str(temporary),  # torch keeps precompiled headers there
                **env,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    run.start = start
    return run


def finished(process):
    """Return what a program said of itself when it ended, and its standard error."""
    output, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    said = SimpleNamespace(**json.loads(output.splitlines()[-1]), errors=errors)
    assert said.state == "succeeded"
    return said


def libraries(directory):
    return {path.name: path.stat().st_mtime_ns for path in directory.rglob("*.so")}


def test_a_follower_hits_and_builds_no_cpp(program, tmp_path):
    url = f"file://{tmp_path}/store"
    builder = program("builder", "explicit", url)
    assert builder.results == ["miss", "miss"]
    assert builder.cache["published_files"] > 0
    follower = program("follower", "explicit", url)
    assert follower.results == ["hit", "hit"]
    assert follower.rebuilds == 0
    assert follower.load_s > 0  # it waited for the store, which is no compile time
    used = follower.cache
    assert (used["fetched_graphs"], used["used_graphs"], used["unused_graphs"]) == (2, 2, [])
    assert used["saved_s"] > used["fetch_s"] > 0
    # All that it has came from the store: it built nothing under another name either.
    assert libraries(tmp_path / "follower").keys() == libraries(tmp_path / "builder").keys()
    if torch.backends.cpu.get_cpu_capability() != "AVX2":  # else that is what it had
        narrower = program("narrower", "avx2", "explicit", url)
        assert narrower.results == ["miss", "miss"]  # the builder's graphs would have been hits
    # Graphs without their libraries, as torch's own bundle carries them, are built again.
    for library in (tmp_path / "follower").rglob("*.so"):
        library.unlink()
    down = {
        "COMPILESPAN_CACHE_URL": "ftp://127.0.0.1:9/cache",
        "COMPILESPAN_CACHE_UNSIGNED": "1",
    }
    again = program("follower", **down)
    assert again.results == ["hit", "hit"]
    assert again.rebuilds >= 1  # what the first one built is there for the second
    assert "CS035" in again.codes
    # A store that is down costs a warning.
    warning = "failed to fetch the compile cache at ftp://127.0.0.1:9/cache: ConnectionRefusedError"
    assert warning in again.errors


def test_of_two_replicas_that_start_together_one_builds(program, tmp_path):
    url = f"file://{tmp_path}/store"
    replicas = [program.start(name, "explicit", url) for name in ("one", "two")]
    built, waited = sorted(map(finished, replicas), key=lambda said: said.wait_s)
    assert built.results == ["miss", "miss"]
    assert waited.results == ["hit", "hit"]
    assert built.wait_s == 0
    assert waited.wait_s > 5
    assert waited.cache["wait_s"] == pytest.approx(waited.wait_s, abs=1)
    assert libraries(tmp_path / "one").keys() == libraries(tmp_path / "two").keys()


def test_a_leader_that_is_killed_while_it_compiles_is_replaced(program, tmp_path):
    url = f"file://{tmp_path}/store"
    killed = program.start("killed", "explicit", url)
    deadline_s = time.monotonic() + 120
    while not list((tmp_path / "store").rglob("lease/*/00000001.beat")):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    other = program.start("other", "explicit", url)
    time.sleep(8)  # it waits by now
    killed.kill()
    killed.communicate()
    said = finished(other)
    assert said.results == ["miss", "miss"]
    assert said.wait_s > 3
    assert program("later", "explicit", url).results == ["hit", "hit"]


def test_what_kills_two_starts_is_left_out_by_the_third(program, tmp_path, monkeypatch):
    url = f"file://{tmp_path}/store"
    program("builder", "explicit", "")
    for module in (tmp_path / "builder").rglob("*.py"):  # inductor's own files
        module.write_text("import os\nos._exit(9)\n")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "builder"))
    (headers,) = (tmp_path / "builder-tmp").rglob("precompiled_headers")
    monkeypatch.setattr(codecache, "_HEADER_DIR", str(headers))
    assert SharedCache(url).publish(0, 100.0).error is None
    for name in ("first", "second"):
        dies = program.start(name, "explicit", url)
        _, errors = dies.communicate(timeout=120)
        assert dies.returncode == 9, errors
    third = program("third", "explicit", url)
    assert third.results == ["miss", "miss"]
    assert "2 starts on this host died or failed" in third.errors
    assert third.cache["quarantined"] == 1
    # What it built is other content, and the next one loads it.
    assert program("fourth", "explicit", url).results == ["hit", "hit"]


def test_the_environment_is_enough_and_s3_is_a_store(program, tmp_path, s3):
    key = tmp_path / "key"
    key.write_text("k" * 40)
    shared = {**s3, "COMPILESPAN_CACHE_URL": "s3://bucket/cache"}
    signed = {**shared, "COMPILESPAN_CACHE_KEY_FILE": str(key)}
    replicas = [program.start(name, **signed) for name in ("one", "two")]
    built, waited = sorted(map(finished, replicas), key=lambda said: said.wait_s)
    assert built.results == ["miss", "miss"]
    assert waited.results == ["hit", "hit"]
    assert waited.cache["used_graphs"] == 2


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
