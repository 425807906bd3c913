"""A small inference server without the service: ``python inference_server.py PORT``."""

from __future__ import annotations

import sys
from typing import Annotated

import torch
import uvicorn
from fastapi import Body, FastAPI, HTTPException

from compilespan import TorchCompileInstrumentor

TorchCompileInstrumentor().instrument()
app = FastAPI()
model = torch.compile(torch.nn.Linear(4, 4), backend="eager", dynamic=False)


@app.post("/infer")
def infer(batch: Annotated[int, Body(embed=True)]) -> float:
    if batch > 100:
        raise HTTPException(413, "too large a batch")
    with torch.inference_mode():
        return float(model(torch.zeros(batch, 4)).sum())


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
