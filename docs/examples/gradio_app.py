"""Gradio on uvicorn: each worker warms up its own model.

uvicorn gradio_app:app --workers 2
"""

from __future__ import annotations

import os

import gradio
import torch
from fastapi import FastAPI

from compilespan import WarmupTarget
from compilespan_service import warmup_router

model = torch.compile(
    torch.nn.Linear(4, 4).eval(), backend=os.environ.get("BACKEND", "inductor"), dynamic=False
)


@torch.inference_mode()
def run(shape: dict[str, int]) -> list[int]:
    """Call the model as `embed` does."""
    return list(model(torch.zeros(shape["batch"], 4)).shape)


def embed(batch: float) -> str:
    """Serve a request."""
    return str(run({"batch": int(batch)}))


app = FastAPI()
target = WarmupTarget("embedder", run, [{"batch": 1}, {"batch": 8}])
app.include_router(warmup_router([target]), prefix="/ops")
interface = gradio.Interface(fn=embed, inputs="number", outputs="text")
app = gradio.mount_gradio_app(app, interface, path="/")  # last: it takes all other paths
