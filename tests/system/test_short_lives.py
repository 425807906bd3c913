"""Processes that end as soon as their work is done: their spans arrive all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from receiver import Receiver

pytestmark = pytest.mark.system

PROGRAM = """
import multiprocessing, os, sys
from compilespan import monitor_torch_compile
from compilespan.sdk import configure
from compilespan.telemetry.telemetry import Telemetry, use_telemetry

def make():
    providers = configure(set_global=False)
    return Telemetry(providers.tracer_provider, providers.meter_provider)

use_telemetry(make)

def work(number):
    with monitor_torch_compile(f"worker {number}", kind="compile"):
        pass
    if sys.argv[1] == "exits hard":
        os._exit(0)

if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    if sys.argv[1] == "pool":
        pool = context.Pool(2, maxtasksperchild=1)
        pool.map(work, range(4), chunksize=1)
        pool.terminate()
    else:
        workers = [context.Process(target=work, args=(number,)) for number in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
"""


@pytest.mark.parametrize("how", ["pool", "exits hard"])
def test_no_span_of_a_short_lived_worker_is_lost(tmp_path, how):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with Receiver() as receiver:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("COMPILESPAN_", "OTEL_"))}
        subprocess.run(
            [sys.executable, str(program), how],
            env={**kept, **receiver.environment()},
            timeout=120,
            check=True,
        )
        received = receiver.received
    names = [span.attributes["torch.compile.name"] for span in received.named("torch.compile")]
    assert sorted(names) == [f"worker {number}" for number in range(4)]


WARM = """
import os, signal
import torch
from compilespan import TorchCompileInstrumentor, WarmupTarget, warm
from compilespan.sdk import configure

configure()
TorchCompileInstrumentor().instrument()
model = torch.compile(lambda x: x + 1, backend="eager", dynamic=False)
warm([WarmupTarget("model", lambda shape: model(torch.zeros(shape["n"])), [{"n": 1}, {"n": 2}])])
os.kill(os.getpid(), signal.SIGKILL)
"""


HANGING = """
import threading, time
import torch
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from compilespan import TorchCompileInstrumentor, WarmupTarget, warm

class Hanging(SimpleSpanProcessor):
    def on_end(self, span): pass
    def force_flush(self, timeout_millis=30000): threading.Event().wait(60)

provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(Hanging(None))
trace.set_tracer_provider(provider)
TorchCompileInstrumentor().instrument()
took = []
for number in range(4):
    model = torch.compile(lambda x: x + number, backend="eager", dynamic=False)
    targets = [WarmupTarget("model", lambda shape: model(torch.zeros(2)), [{"n": 1}])]
    for again in range(2):
        began = time.perf_counter()
        warm(targets)
        took.append(time.perf_counter() - began)
print(sum(took))
"""


def test_a_collector_that_hangs_costs_warmups_half_a_second_in_all():
    """In a process of its own: each waits for the first flush, which never ends."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("COMPILESPAN_", "OTEL_"))}
    printed = subprocess.check_output([sys.executable, "-c", HANGING], env=kept, timeout=120)
    assert 0.5 <= float(printed) < 2.0  # eight waits would take four seconds


def test_what_a_warmup_compiled_has_arrived_when_it_returns():
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("COMPILESPAN_", "OTEL_"))}
    with Receiver() as receiver:
        hour = {"OTEL_BSP_SCHEDULE_DELAY": "3600000", "OTEL_METRIC_EXPORT_INTERVAL": "3600000"}
        done = subprocess.run(
            [sys.executable, "-c", WARM],
            env={**kept, **receiver.environment(), **hour},
            timeout=120,
            check=False,
        )
        received = receiver.received
    assert done.returncode == -signal.SIGKILL
    assert len(received.named("torch.compile")) == 2
    assert len(received.named("compilespan.warmup")) == 1
    assert received.resources_of("torch.compile.duration")
