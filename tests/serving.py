"""Shared by tests of the service: targets that compile in milliseconds, and waiting."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import torch

from compilespan import WarmupTarget


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x).relu()


def target(module, shapes, **options):
    """Return a target that runs a module on a batch."""
    return WarmupTarget(
        "net", lambda shape: module(torch.zeros(shape["batch"], 4)), shapes, **options
    )


def batches(*sizes):
    return [{"batch": size} for size in sizes]


class Model:
    """A target whose compiles can be blocked or made to fail."""

    def __init__(self, name="net", sizes=(1, 2, 3), **options):
        self.failing: set[int] = set()
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.runs: list[int] = []
        self.module = torch.compile(Net(), backend=self.backend, dynamic=False)
        self.target = WarmupTarget(
            name, self.run, shapes=[{"batch": size} for size in sizes], **options
        )

    def run(self, shape):
        self.runs.append(shape["batch"])
        self.module(torch.zeros(shape["batch"], 4))

    def backend(self, gm, inputs):
        self.entered.set()
        assert self.go_on.wait(30)
        if any(tuple(each.shape)[:1] == (size,) for size in self.failing for each in inputs):
            raise RuntimeError("no kernel")
        return gm.forward

    def hold(self):
        self.entered.clear()
        self.go_on.clear()


def wait_until(condition, timeout_s=60.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


@contextmanager
def in_thread(call):
    """Run a call in a thread during the block; yield a list that receives its result."""
    results = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    try:
        yield results
    finally:
        thread.join(60)
