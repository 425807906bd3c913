"""An app as users have it, without a line of OpenTelemetry; each worker warms up its own model."""

from __future__ import annotations

import torch
from fastapi import FastAPI

from compilespan import WarmupTarget
from compilespan_service import warmup_router

model = torch.compile(torch.nn.Linear(4, 4).eval(), backend="eager", dynamic=False)


@torch.inference_mode()
def predict(shape):
    return list(model(torch.zeros(shape["batch"], 4)).shape)


app = FastAPI()
target = WarmupTarget("embedder", predict, [{"batch": 1}, {"batch": 8}])
app.include_router(warmup_router([target]), prefix="/ops")


@app.post("/predict")
def predict_endpoint(shape: dict[str, int]):
    return {"size": predict(shape)}
