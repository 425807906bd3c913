"""Ray Serve: each replica warms up before it is added to the deployment.

serve run ray_app:app
"""

from __future__ import annotations

import os
import tempfile
import uuid

import torch
from fastapi import FastAPI
from ray import serve

from compilespan import TorchCompileInstrumentor, WarmupTarget, mark_ready, warm
from compilespan_service import warmup_router


def endpoints() -> FastAPI:
    """Return the app; Ray calls this in each replica."""
    app = FastAPI()
    app.include_router(warmup_router(None), prefix="/ops")
    return app


# Ray does not pass variables on to replicas. Those of one start share an id and a directory.
SHARED = {
    "COMPILESPAN_INSTANCE_ID": os.environ.get("COMPILESPAN_INSTANCE_ID") or uuid.uuid4().hex,
    "COMPILESPAN_STATE_DIR": os.environ.get("COMPILESPAN_STATE_DIR") or tempfile.mkdtemp(),
    "COMPILESPAN_PROCESSES": "2",
}


@serve.deployment(num_replicas=2, ray_actor_options={"runtime_env": {"env_vars": SHARED}})
@serve.ingress(endpoints)
class Embedder:
    """One per replica."""

    def __init__(self) -> None:
        """Load, compile and warm up; Ray sends requests when this is done."""
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
        """Call the model as a request does."""
        return list(self.model(torch.zeros(shape["batch"], 4)).shape)


app = Embedder.bind()

if __name__ == "__main__":
    serve.start(http_options={"port": int(os.environ.get("PORT", "8000"))})
    serve.run(app, blocking=True)
