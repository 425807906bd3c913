"""A worker that vLLM forks: the plugin's providers are made anew in it, and flushed at its end.

vLLM's CPU platform forces ``spawn``, so the fork is made here; the plugin is the real one.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from receiver import Receiver

pytestmark = pytest.mark.system

PROGRAM = """
import multiprocessing
import torch
import compilespan.servers.vllm
from compilespan import get_ledger, monitor_torch_compile

compilespan.servers.vllm.install()

def compile_as(name):
    with monitor_torch_compile(name, kind="compile"):
        pass

def work():
    assert get_ledger().records() == ()
    assert get_ledger().readiness.phase == "warmup"
    compile_as("in the worker")
    # As vLLM's stock mode does, which no monitor of its own surrounds.
    torch.compile(torch.nn.Linear(2, 2), backend="eager")(torch.zeros(1, 2))

worker = multiprocessing.get_context("fork").Process(target=work)
worker.start()
worker.join()
assert worker.exitcode == 0
compile_as("in the first process")
get_ledger().mark_ready()
from compilespan.telemetry.telemetry import active_telemetry
active_telemetry().flush(5)
"""


def test_a_forked_worker_has_providers_of_its_own(tmp_path):
    with Receiver() as receiver:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("COMPILESPAN_", "OTEL_"))}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={
                **kept,
                **receiver.environment(),
                "COMPILESPAN_STATE_DIR": str(tmp_path),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        received = receiver.received
    assert done.returncode == 0, done.stderr
    spans = {
        span.attributes["torch.compile.name"]: span for span in received.named("torch.compile")
    }
    first, worker = spans["in the first process"], spans["in the worker"]
    assert first.resource["service.instance.id"] != worker.resource["service.instance.id"]
    assert first.resource["compilespan.instance.id"] == worker.resource["compilespan.instance.id"]
    (startup,) = received.named("compilespan.startup")
    assert first.trace_id == worker.trace_id == startup.trace_id
    assert first.parent_id == worker.parent_id == startup.span_id
    assert spans["Linear"].attributes["torch.compile.trigger"] == "dynamo"
    assert spans["Linear"].attributes["torch.compile.phase"] == "warmup"
    assert spans["Linear"].trace_id == startup.trace_id
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
