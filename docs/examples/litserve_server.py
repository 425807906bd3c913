"""LitServe: models live in worker processes, the endpoints in the process of its app."""

from __future__ import annotations

import os
from typing import Any

import litserve
import torch

from compilespan import TorchCompileInstrumentor, WarmupTarget, mark_ready, warm
from compilespan_service import warmup_router


class Embedder(litserve.LitAPI):
    """One per worker."""

    def setup(self, device: str) -> None:
        """Load, compile and warm up; LitServe opens its port when all workers have done this."""
        TorchCompileInstrumentor().instrument()
        module = torch.nn.Linear(4, 4).to(device).eval()
        self.model = torch.compile(module, backend=os.environ.get("BACKEND", "inductor"))
        warm([WarmupTarget("embedder", self.run, [{"batch": 1}, {"batch": 8}])])
        mark_ready()

    @torch.inference_mode()
    def run(self, shape: dict[str, int]) -> torch.Tensor:
        """Call the model as `predict` does."""
        return self.model(torch.zeros(shape["batch"], 4))

    def decode_request(self, request: dict[str, int]) -> dict[str, int]:
        """Take the shape as it is."""
        return request

    def predict(self, shape: dict[str, int]) -> list[int]:
        """Serve a request."""
        return list(self.run(shape).shape)

    def encode_response(self, output: list[int]) -> dict[str, Any]:
        """Return the size of the result."""
        return {"size": output}


if __name__ == "__main__":
    server = litserve.LitServer(Embedder(), accelerator="cpu", workers_per_device=2)
    server.app.include_router(warmup_router(None), prefix="/ops")  # before the workers start
    port = int(os.environ.get("PORT", "8000"))
    server.run(host="127.0.0.1", port=port, generate_client_file=False)
