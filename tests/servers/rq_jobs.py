"""A job of RQ: its process is forked for it, and ends by os._exit."""

import torch


def embed(batch):
    model = torch.compile(torch.nn.Linear(4, 4).eval(), backend="eager", dynamic=False)
    with torch.inference_mode():
        return list(model(torch.zeros(batch, 4)).shape)
