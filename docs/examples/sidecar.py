"""Targets of a sidecar: prompts of some lengths, for a completion server in another process.

    export COMPILESPAN_STATE_DIR=/tmp/state INFERENCE_URL=http://127.0.0.1:8001
    compilespan serve sidecar:targets

The server may be vLLM, SGLang, or ``inference_server.py`` in this folder. Both processes have the
same state directory, so that the sidecar can read what the server compiled.
"""

from __future__ import annotations

import os

from compilespan_service import HttpTarget


def targets() -> list[HttpTarget]:
    """Return the server at ``INFERENCE_URL``, with a prompt for each of ``PROMPT_LENGTHS``."""
    lengths = [int(length) for length in os.environ.get("PROMPT_LENGTHS", "16,64").split(",")]
    requests = [
        {
            "path": "/v1/completions",
            "json": {"model": os.environ.get("MODEL"), "prompt": [1] * length, "max_tokens": 1},
            "shape": {"prompt_tokens": length},
        }
        for length in lengths
    ]
    key = os.environ.get("API_KEY")  # if the server requires one
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return [HttpTarget("inference", os.environ["INFERENCE_URL"], requests, headers=headers)]
