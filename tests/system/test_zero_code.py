"""``opentelemetry-instrument``, as the README says, to a real receiver."""

from __future__ import annotations

import os
import signal
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


def launched(tmp_path, receiver, program, *arguments, **env):
    """Return the process of a program that OpenTelemetry's launcher instrumented, after its end."""
    path = tmp_path / "program.py"
    path.write_text(program)
    launcher = Path(sys.executable).parent / "opentelemetry-instrument"
    return subprocess.run(
        [launcher, sys.executable, str(path), *arguments],
        env={**os.environ, **receiver.environment(), **env},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def instrumented(tmp_path, receiver, method="spawn", **env):
    done = launched(tmp_path, receiver, PROGRAM, method, **env)
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


FORKS = """
import os, torch
model = torch.compile(lambda x: x + 1, backend="eager", dynamic=False)
for size in (2, 3):
    if os.fork() == 0:  # as RQ's work horses: the process ends with its job, without any clean-up
        model(torch.zeros(size))
        os._exit(0)
    os.wait()
"""


def test_workers_that_end_by_os_exit_are_two_processes_of_one_start(tmp_path):
    with Receiver() as receiver:
        done = launched(tmp_path, receiver, FORKS)
        assert done.returncode == 0, done.stderr
        spans = receiver.received.named("torch.compile")
        metrics = receiver.received.resources_of("torch.compile.duration")
    assert len(spans) == 2
    assert len({span.resource["compilespan.instance.id"] for span in spans}) == 1
    assert len({span.resource["service.instance.id"] for span in spans}) == 2
    assert {span.resource["service.instance.id"] for span in spans} == {
        resource["service.instance.id"] for resource in metrics
    }


KILLED = """
import os, signal, time, torch
torch.compile(lambda x: x + 1, backend="eager")(torch.zeros(2))
time.sleep(2)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_compiled_shortly_before_a_kill_has_arrived(tmp_path):
    """The SDK's own intervals are set to an hour: only our flush delivers."""
    with Receiver() as receiver:
        done = launched(
            tmp_path,
            receiver,
            KILLED,
            OTEL_BSP_SCHEDULE_DELAY="3600000",
            OTEL_METRIC_EXPORT_INTERVAL="3600000",
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert len(receiver.received.named("torch.compile")) == 1
        assert receiver.received.points("torch.compile.duration")


SAMPLED_OUT = """
import torch
from opentelemetry import trace
parent = trace.SpanContext(1, 1, is_remote=True, trace_flags=trace.TraceFlags(0))
with trace.use_span(trace.NonRecordingSpan(parent)):
    torch.compile(lambda x: x + 1, backend="eager")(torch.zeros(2))
    torch.compile(lambda x: x + 2, backend="eager")(torch.zeros(2))
    with trace.get_tracer("theirs").start_as_current_span("theirs"):
        pass
"""


def test_an_unsampled_request_does_not_drop_the_compiles_in_it(tmp_path):
    with Receiver() as receiver:
        done = launched(tmp_path, receiver, SAMPLED_OUT)
        assert done.returncode == 0, done.stderr
    assert len(receiver.received.named("torch.compile")) == 2
    assert receiver.received.named("theirs") == []
    assert "sampler" not in done.stderr


def test_a_sampler_that_the_user_chose_is_kept_and_named_once(tmp_path):
    with Receiver() as receiver:
        done = launched(
            tmp_path, receiver, SAMPLED_OUT, OTEL_TRACES_SAMPLER="parentbased_always_on"
        )
        assert done.returncode == 0, done.stderr
    assert receiver.received.named("torch.compile") == []
    assert receiver.received.points("torch.compile.duration")
    (line,) = [line for line in done.stderr.splitlines() if "dropped by the sampler" in line]
    assert "parentbased_always_on" in line
    assert "OTEL_TRACES_SAMPLER=compilespan" in line
