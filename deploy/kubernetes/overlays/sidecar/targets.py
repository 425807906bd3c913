"""What the sidecar sends to the server beside it until nothing compiles any more."""

from compilespan_service import HttpTarget

REQUESTS = [
    {"path": "/predict", "json": {"inputs": [0] * length}, "shape": {"length": length}}
    for length in (1, 128, 1024)
]


def targets() -> list[HttpTarget]:
    """Return the server in this pod; its journal is in the directory that both mount."""
    return [HttpTarget("server", "http://127.0.0.1:8080", REQUESTS)]
