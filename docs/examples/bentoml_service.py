"""BentoML: each worker holds the model and serves the endpoints.

bentoml serve bentoml_service:Embedder
"""

from __future__ import annotations

import os

import bentoml
import torch
from fastapi import FastAPI

from compilespan import TorchCompileInstrumentor, WarmupTarget, mark_ready, warm
from compilespan_service import warmup_router

ops = FastAPI()
ops.include_router(warmup_router(None))


@bentoml.service(workers=2)
@bentoml.asgi_app(ops, path="/ops")
class Embedder:
    """One per worker."""

    def __init__(self) -> None:
        """Load, compile and warm up; BentoML's `/readyz` answers when this is done."""
        instrumentor = TorchCompileInstrumentor()
        if not instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.instrument()
        self.model = torch.compile(
            torch.nn.Linear(4, 4).eval(),
            backend=os.environ.get("BACKEND", "inductor"),
            dynamic=False,
        )
        warm([WarmupTarget("embedder", self.run, [{"batch": 1}, {"batch": 8}])])
        mark_ready()

    @torch.inference_mode()
    def run(self, shape: dict[str, int]) -> list[int]:
        """Call the model as `embed` does."""
        return list(self.model(torch.zeros(shape["batch"], 4)).shape)

    @bentoml.api
    def embed(self, batch: int) -> list[int]:
        """Serve a request."""
        return self.run({"batch": batch})
