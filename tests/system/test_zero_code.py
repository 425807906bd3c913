"""``opentelemetry-instrument``, as the README says, to a real receiver."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from receiver import Receiver

pytestmark = pytest.mark.system

PROGRAM = """
import multiprocessing, sys, torch
def work(size):
    torch.compile(lambda x: x + 1, backend="eager", dynamic=False)(torch.zeros(size))
if __name__ == "__main__":
    work(3)
    child = multiprocessing.get_context(sys.argv[1]).Process(target=work, args=(4,))
    child.start()
    child.join()
"""


def instrumented(tmp_path, receiver, method="spawn", **env):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    launcher = Path(sys.executable).parent / "opentelemetry-instrument"
    done = subprocess.run(
        [launcher, sys.executable, str(path), method],
        env={**os.environ, **receiver.environment(), **env},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return receiver.received


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_every_compile_arrives_from_the_program_and_its_child(tmp_path, method):
    """Children of multiprocessing end without atexit; what they compiled is flushed."""
    with Receiver() as receiver:
        received = instrumented(tmp_path, receiver, method)
    spans = received.named("torch.compile")
    assert len(spans) == 2
    assert len({span.span_id for span in spans}) == 2
    assert all("is_encoder" in span.attributes for span in spans)
    assert received.points("torch.compile.duration")


def test_it_can_be_switched_off_by_name(tmp_path):
    with Receiver() as receiver:
        received = instrumented(
            tmp_path, receiver, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="torch_compile"
        )
    assert received.named("torch.compile") == []


def test_with_the_sampler_compiles_are_kept_and_others_are_not(tmp_path):
    with Receiver() as receiver:
        received = instrumented(
            tmp_path,
            receiver,
            OTEL_TRACES_SAMPLER="compilespan",
            OTEL_TRACES_SAMPLER_ARG="0",
            OTEL_PYTHON_ID_GENERATOR="compilespan",
        )
    assert received.named("torch.compile")
