"""KServe: each worker warms up its own model; `/ops/readyz` is for the readiness probe.

python kserve_server.py --workers 2 --http_port 8080
"""

from __future__ import annotations

import os
from typing import Any

import kserve
from kserve.model_server import app

from compilespan import WarmupTarget
from compilespan_service import warmup_router

compiled: dict[str, Any] = {}
"""The model of this worker."""


def load() -> None:
    """Load and compile in the worker: a compiled model cannot be sent to it."""
    import torch  # noqa: PLC0415  # KServe kills a worker that does not answer for 5 s

    module = torch.nn.Linear(4, 4).eval()
    backend = os.environ.get("BACKEND", "inductor")
    compiled["embedder"] = torch.compile(module, backend=backend, dynamic=False)


def run(shape: dict[str, int]) -> list[int]:
    """Call the model as `predict` does."""
    import torch  # noqa: PLC0415

    with torch.inference_mode():
        return list(compiled["embedder"](torch.zeros(shape["batch"], 4)).shape)


class Embedder(kserve.Model):
    """Sent to each worker."""

    def predict(self, payload: dict[str, Any], *_: object, **__: object) -> dict[str, Any]:
        """Serve a request."""
        return {"predictions": run({"batch": len(payload["instances"])})}


# KServe's workers import this file again and serve this app.
target = WarmupTarget("embedder", run, [{"batch": 1}, {"batch": 8}], load=load)
app.include_router(warmup_router([target]), prefix="/ops")

if __name__ == "__main__":
    embedder = Embedder("embedder")
    embedder.ready = True
    kserve.ModelServer(enable_grpc=False).start([embedder])
