"""A FastAPI server that has its own lifespan, providers and authentication, with a warmup.

    uvicorn own_server:app --workers 2

The warmup needs ``warm_up``, ``target`` and the line that includes ``warmup_router``.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import torch
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import APIKeyHeader
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from compilespan import WarmupTarget
from compilespan_service import warmup_router

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

trace.set_tracer_provider(TracerProvider())  # the server's own provider, which the router uses

model = torch.compile(
    torch.nn.Linear(16, 16).eval(),
    backend=os.environ.get("BACKEND", "inductor"),
    dynamic=False,
)


def predict(batch: int) -> float:
    """Run the model as serving does: in inference mode."""
    with torch.inference_mode():
        return float(model(torch.ones(batch, 16)).sum())


def warm_up(shape: Mapping[str, object]) -> None:
    """Call what serving calls, so that the same guards apply."""
    predict(int(str(shape["batch"])))


def authenticated(key: Annotated[str, Depends(APIKeyHeader(name="X-Key"))]) -> None:
    """Refuse requests without the operator's key."""
    if key != os.environ.get("KEY", "secret"):
        raise HTTPException(401, "the key is wrong")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Do what the server always did at its start and end."""
    app.state.opened = True
    yield
    app.state.opened = False


app = FastAPI(lifespan=lifespan)
target = WarmupTarget("linear", warm_up, shapes=[{"batch": 1}, {"batch": 8}])
app.include_router(warmup_router([target], dependencies=[Depends(authenticated)]), prefix="/ops")


@app.get("/predict")
def predict_endpoint(batch: int) -> dict[str, float]:
    """Run the model for a client."""
    return {"sum": predict(batch)}
