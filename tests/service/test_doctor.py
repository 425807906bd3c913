"""``compilespan doctor``: what it finds, and what it says to do."""

from __future__ import annotations

import json
import socket
import sys
import sysconfig
from types import SimpleNamespace

import pytest

from compilespan.dynamo import private
from compilespan_service.cli.commands import app as commands
from compilespan_service.cli.doctor import machine, telemetry
from support import cli_runner


def doctor(**env):
    done = cli_runner().invoke(commands, ["doctor", "--json"], env=env)
    found = {each["name"]: each for each in json.loads(done.stdout)}
    return done.exit_code, found


def test_a_good_environment_is_0_and_one_line_each(tmp_path):
    code, found = doctor(OMP_NUM_THREADS="2", TORCHINDUCTOR_CACHE_DIR=str(tmp_path))
    assert code == 0
    assert found["names of torch"]["state"] == "good"
    assert found["C++ compiler"]["state"] == "good"
    assert found["compile cache"]["state"] == "good"
    assert str(tmp_path) in found["compile cache"]["found"]
    done = cli_runner().invoke(commands, ["doctor"])
    assert len(done.stdout.splitlines()) == len(found)
    assert all(each["remedy"] for each in found.values() if each["state"] != "good")


def test_what_will_not_work_is_1(tmp_path):
    file = tmp_path / "file"
    file.touch()
    code, found = doctor(CXX="/no/such/compiler", TORCHINDUCTOR_CACHE_DIR=str(file))
    assert code == 1
    assert found["C++ compiler"]["state"] == "bad"
    assert "CXX=/no/such/compiler" in found["C++ compiler"]["found"]
    assert found["compile cache"]["state"] == "bad"


def test_no_compiler_at_all(monkeypatch):
    monkeypatch.setattr(machine, "which", lambda _: None)
    monkeypatch.delenv("CXX", raising=False)
    assert machine.compiler().state == "bad"
    assert "apt install g++" in machine.compiler().remedy


def test_no_headers_of_python(monkeypatch, tmp_path):
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    assert machine.python().state == "bad"
    assert "python3-dev" in machine.python().remedy


@pytest.mark.parametrize(
    ("version", "state"),
    [(None, "bad"), ("2.8.1+cu128", "bad"), ("2.9.0a0", "good"), ("2.13.0+cpu", "good")],
)
def test_the_version_of_torch(monkeypatch, version, state):
    monkeypatch.setattr(machine, "installed", lambda _: version)
    assert machine.torch().state == state


def test_a_disk_that_is_nearly_full(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    assert machine.cache(str(tmp_path)).state == "bad"


def test_few_threads_that_build_kernels(monkeypatch):
    monkeypatch.setattr(machine, "cpus", lambda: 16.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    assert machine.threads().state == "note"
    monkeypatch.delenv("TORCHINDUCTOR_COMPILE_THREADS")
    monkeypatch.setattr(machine, "compile_threads", lambda: 8)
    assert machine.threads().state == "good"
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert "OMP_NUM_THREADS" in machine.threads().remedy


def test_headers_that_are_not_built_yet(monkeypatch, tmp_path):
    from torch._inductor import codecache

    monkeypatch.setattr(codecache, "_HEADER_DIR", str(tmp_path))
    assert machine.headers().state == "note"
    (tmp_path / "x.gch").write_bytes(b"x")
    assert machine.headers().state == "good"


def test_a_driver_that_torch_does_not_use(monkeypatch):
    """Faked: no GPU is here."""
    monkeypatch.setattr(machine.Path, "exists", lambda path: "nvidia" in str(path))
    assert machine.gpu().state == "bad"


def test_a_missing_private_name_says_what_is_lost(monkeypatch):
    lost = private.Private("torch._dynamo.utils", "no_such_name", "the moon")
    monkeypatch.setattr(private, "REGISTER", (lost,))
    monkeypatch.setattr(private.Private, "note_missing", lambda *_: None)
    found = telemetry.names("torch")
    assert found.state == "note"
    assert "torch._dynamo.utils.no_such_name" in found.found
    assert "the moon" in found.found


def test_the_collector(monkeypatch):
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert telemetry.collector().state == "note"
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        for endpoint in (f"http://127.0.0.1:{port}", f"127.0.0.1:{port}"):
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            assert telemetry.collector().state == "good"
    for endpoint in (f"http://127.0.0.1:{port}", "http://127.0.0.1:port", "http://no.such.invalid"):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        assert telemetry.collector().state == "bad"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://user:s3cret@127.0.0.1:{port}")
    assert telemetry.collector().found.startswith(f"http://127.0.0.1:{port} ")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert telemetry.collector().remedy == "unset it"


def test_the_state_directory(tmp_path):
    assert telemetry.state_directory(tmp_path).state == "good"
    assert telemetry.state_directory(tmp_path / "none").state == "bad"


def test_the_shared_cache(monkeypatch, tmp_path):
    pytest.importorskip("fsspec")
    monkeypatch.delenv("COMPILESPAN_CACHE_KEY_FILE", raising=False)
    assert telemetry.shared_cache(f"file://{tmp_path}").state == "good"
    assert telemetry.shared_cache("memory://unsigned").state == "bad"
    assert telemetry.shared_cache("nothing://x").state == "bad"
    monkeypatch.setenv("COMPILESPAN_CACHE_KEY_FILE", str(tmp_path / "no-key"))
    assert telemetry.shared_cache(f"file://{tmp_path}").state == "bad"


def test_a_module_that_cannot_be_imported_is_no_fault(monkeypatch):
    other = private.Private("torch._no_such_module", "name", "nothing")
    monkeypatch.setattr(private, "REGISTER", (other,))
    monkeypatch.setitem(sys.modules, "torch._no_such_module", None)
    assert telemetry.names("torch").state == "note"
