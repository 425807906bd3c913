"""Targets that measure themselves what their start is made of, and write it down."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from pathlib import Path

from compilespan import WarmupTarget

MEASURED = {"import": 0.0, "load": 0.0, "compile": 0.0}


@contextmanager
def measure(part):
    began = time.perf_counter()
    yield
    MEASURED[part] += time.perf_counter() - began
    Path(os.environ["MEASURED"]).write_text(json.dumps(MEASURED))


def slow(graph_module, _):
    time.sleep(2)
    return graph_module.forward


def targets():
    with measure("import"):
        import torch
        import torch._dynamo  # torch.compile() would import it
        import transformers  # noqa: F401

        compiled = torch.compile(torch.nn.Linear(4, 4), backend=slow)  # the rest of torch

    def load():
        with measure("load"):
            time.sleep(1.5)

    def run(_):
        is_first = not MEASURED["compile"]
        with torch.no_grad():
            if is_first:
                with measure("compile"):
                    compiled(torch.zeros(2, 4))
            else:
                compiled(torch.zeros(2, 4))

    return [WarmupTarget("net", run, [{}], load=load)]
