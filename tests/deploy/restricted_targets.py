"""A model that inductor compiles to C++, for `test_kubernetes.py`."""

from __future__ import annotations

from compilespan import WarmupTarget


def targets():
    import torch

    model = torch.compile(lambda x: (x * 2).sin())
    return [WarmupTarget("sine", lambda shape: model(torch.ones(shape["n"])), [{"n": 64}])]
