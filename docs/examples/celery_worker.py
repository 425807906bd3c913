"""Celery: each process of the prefork pool warms up its own model.

celery --app celery_worker worker --pool prefork --concurrency 2
"""

from __future__ import annotations

import os

import torch
from celery import Celery
from celery.signals import worker_process_init

from compilespan import TorchCompileInstrumentor, WarmupTarget, mark_ready, warm

app = Celery(broker=os.environ.get("BROKER", "redis://127.0.0.1:6379/0"))
app.conf.worker_proc_alive_timeout = 600  # a process that warms up longer is killed; default 4 s
model = torch.compile(
    torch.nn.Linear(4, 4).eval(), backend=os.environ.get("BACKEND", "inductor"), dynamic=False
)


@torch.inference_mode()
def run(shape: dict[str, int]) -> list[int]:
    """Call the model as the task does."""
    return list(model(torch.zeros(shape["batch"], 4)).shape)


@worker_process_init.connect
def warm_up(**_: object) -> None:
    """Warm up in each process after its fork: torch's threads do not survive one."""
    instrumentor = TorchCompileInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument()
    warm([WarmupTarget("embedder", run, [{"batch": 1}, {"batch": 8}])])
    mark_ready()


@app.task
def embed(batch: int) -> list[int]:
    """Serve a task."""
    return run({"batch": batch})
