"""What an HttpTarget makes of its requests."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from compilespan import warm
from compilespan_service.warmups import listening
from compilespan_service.warmups.http_target import HttpTarget
from compilespan_service.warmups.targets import TargetsError, checked


class Answering(http.server.BaseHTTPRequestHandler):
    """A server that answers and compiles nothing."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def url():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


PROGRAM = """
import sys
import compilespan

with compilespan.monitor_torch_compile("before", kind="{kind}"):
    pass
compilespan.get_ledger().journal.flush()
print("compiled", flush=True)
sys.stdin.readline()
"""


@contextmanager
def compiled_before(directory, kind):
    """A process that compiled, keeps its journal in this directory, and lives."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(kind=kind)],
        env={**os.environ, "COMPILESPAN_STATE_DIR": str(directory)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "compiled\n"
    try:
        yield
    finally:
        process.communicate("\n", timeout=20)


def warmed(url, directory):
    target = HttpTarget("a", url, [{"x": 1}, {"x": 2}], state_dir=directory).as_target()
    return warm([target])


@pytest.mark.parametrize("kind", ["compile", "load"])
def test_what_was_compiled_before_the_warmup_is_warm(url, tmp_path, kind):
    with compiled_before(tmp_path, kind):
        result = warmed(url, tmp_path)
    assert [(item.state, item.compiles) for item in result.items] == [("warm", 0)] * 2
    assert result.is_warm


def test_a_server_that_was_never_seen_to_compile_is_unverified_and_says_what_to_do(url, tmp_path):
    with compiled_before(tmp_path, "capture"):  # a capture runs nothing
        result = warmed(url, tmp_path)
    assert {item.state for item in result.items} == {"unverified"}
    assert not result.is_warm
    assert "give both the same COMPILESPAN_STATE_DIR" in result.warnings[0]


def test_what_a_dead_process_compiled_proves_nothing(url, tmp_path):
    with compiled_before(tmp_path, "compile"):
        pass
    assert {item.state for item in warmed(url, tmp_path).items} == {"unverified"}


COMPILING = """
import sys, time
import compilespan

with compilespan.monitor_torch_compile("before", kind="compile"):
    pass
with compilespan.monitor_torch_compile("behind the answer", kind="compile"):
    print("compiles", flush=True)
    time.sleep(float(sys.argv[1]))
sys.stdin.readline()
"""


@pytest.mark.parametrize(("lasts_s", "state", "compiles"), [(2, "warm", 1), (60, "failed", 0)])
def test_a_compile_behind_the_answer_is_waited_for(
    url, tmp_path, monkeypatch, lasts_s, state, compiles
):
    monkeypatch.setattr(listening, "LONGEST_S", 5.0)
    process = subprocess.Popen(
        [sys.executable, "-c", COMPILING, str(lasts_s)],
        env={**os.environ, "COMPILESPAN_STATE_DIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "compiles\n"
    try:
        target = HttpTarget("a", url, [{"x": 1}], state_dir=tmp_path).as_target()
        (item,) = warm([target]).items
    finally:
        process.kill()
        process.communicate()
    assert (item.state, item.compiles) == (state, compiles)
    if state == "failed":
        assert "still compiles behind the answer" in item.error


@pytest.mark.parametrize(
    ("requests", "shapes"),
    [
        ([{"prompt": "Hi", "max_tokens": 4}], [{"prompt": "Hi", "max_tokens": 4}]),
        ([{"json": {"batch": 2, "x": [1]}}], [{"batch": 2}]),
        ([{"shape": {"tokens": 16}, "json": {"prompt": "x"}}], [{"tokens": 16}]),
        ([{"path": "/health", "method": "GET"}], [{"request": 1}]),
        ([{"a": 1}, {"a": 1}], [{"a": 1}, {"request": 2, "a": 1}]),
        ([{"prompt": "x" * 100}], [{"prompt": "x" * 48}]),
    ],
)
def test_a_request_has_a_shape(requests, shapes):
    (target,) = checked([HttpTarget("a", "http://127.0.0.1:1", requests)])
    assert target.shapes == shapes


def test_one_target_needs_no_list():
    (target,) = checked(HttpTarget("a", "http://127.0.0.1:1", [{"a": 1}]))
    assert target.name == "a"


@pytest.mark.parametrize(
    ("url", "requests", "says"),
    [("localhost:8000", [{}], "must begin with http://"), ("http://x", [], "has no requests")],
)
def test_a_wrong_one_is_told(url, requests, says):
    with pytest.raises(ValueError, match=says):
        HttpTarget("a", url, requests)


def test_two_of_one_name_are_told():
    with pytest.raises(TargetsError, match="two targets are called 'a'"):
        checked([HttpTarget("a", "http://x", [{"b": 1}]) for _ in range(2)])
