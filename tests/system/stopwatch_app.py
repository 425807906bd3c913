"""Somebody's own server with the router mounted; its import takes a while, too."""

from __future__ import annotations

from fastapi import FastAPI
from stopwatch_targets import targets

from compilespan import mark_ready
from compilespan_service import warmup_router

app = FastAPI()
app.include_router(warmup_router(targets), prefix="/ops")


@app.post("/ready")
def ready() -> None:
    mark_ready()
