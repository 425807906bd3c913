"""An inference server that the service warms from another process, a sidecar.

    COMPILESPAN_STATE_DIR=/tmp/state uvicorn inference_server:app --port 8001

A tiny language model behind ``POST /v1/completions``, the route of vLLM and others. It uses only
the library of compilespan: compiles are recorded in the state directory and by OpenTelemetry.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import torch
from fastapi import FastAPI, HTTPException
from transformers import LlamaConfig, LlamaModel

from compilespan import TorchCompileInstrumentor, mark_ready
from compilespan.sdk import configure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MAX_TOKENS = 100

providers = configure("inference-server")
TorchCompileInstrumentor().instrument()

config = LlamaConfig(
    vocab_size=256,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=4,
)
model = LlamaModel(config).eval()
model.compile(backend=os.environ.get("BACKEND", "inductor"), dynamic=False)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Declare the server ready; at its end, export the telemetry that is left."""
    mark_ready()  # compiles from here on delay requests, unless a sidecar's warmup caused them
    yield
    providers.shutdown()


app = FastAPI(lifespan=lifespan)


@app.get("/health")
def health() -> dict[str, str]:
    """Answer; the model is loaded before the port opens."""
    return {"status": "ok"}


@app.post("/v1/completions")
def complete(body: dict[str, Any]) -> dict[str, list[int]]:
    """Run the model on the tokens of ``prompt``."""
    tokens = [int(token) for token in body["prompt"]]
    if len(tokens) > MAX_TOKENS:
        raise HTTPException(413, f"at most {MAX_TOKENS} tokens")
    with torch.inference_mode():
        hidden = model(input_ids=torch.tensor([tokens]), use_cache=False).last_hidden_state
    return {"tokens": [int(hidden[0, -1].argmax())]}
