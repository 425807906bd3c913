"""What the dashboards look at: an encoder, a language model, and all that goes wrong with them."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

from compilespan import WarmupTarget, get_ledger, monitor_torch_compile


def targets():
    import torch

    salt = float(os.environ["SALT"])  # a constant of the graphs: another one is another cache entry

    class VisionTower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(8, 8)

        def forward(self, x):
            return self.linear(x * salt).relu()

    class LanguageModel(VisionTower):
        def forward(self, x):
            return self.linear(x + salt).tanh()

    class Head(VisionTower):
        def forward(self, x):
            return self.linear(x)

    vision, model = torch.compile(VisionTower()), torch.compile(LanguageModel())
    served = torch.compile(Head(), backend="eager", dynamic=False)

    def run(shape):
        with torch.no_grad():
            vision(torch.zeros(2, 8))
            model(torch.zeros(shape["tokens"], 8))

    def load():
        with torch.no_grad():
            served(torch.zeros(1, 8))
        with monitor_torch_compile("artefacts", kind="load"):
            time.sleep(0.01)
        fail(torch)
        recompile_too_often(torch)
        threading.Thread(target=recompile_while_serving, daemon=True).start()

    def recompile_while_serving():
        while get_ledger().readiness.after_s is None:
            time.sleep(0.05)
        with torch.no_grad():
            served(torch.zeros(7, 8))

    return [WarmupTarget("observed", run, [{"tokens": 4}], load=load)]


def fail(torch):
    def backend(_gm, _inputs):
        raise RuntimeError("no kernel")

    with suppress(Exception):
        torch.compile(lambda x: x + 1, backend=backend)(torch.zeros(2))


def recompile_too_often(torch):
    module = torch.compile(torch.nn.Linear(4, 4), backend="eager", dynamic=False)
    with torch.no_grad():
        for size in range(1, 12):
            module(torch.zeros(size, 4))
