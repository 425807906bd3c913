"""Targets of a sidecar: vLLM's own completions, at VLLM_URL."""

from __future__ import annotations

import os

import httpx

from compilespan_service.targets import HttpTarget


def targets():
    url = os.environ["VLLM_URL"].rstrip("/")
    model = httpx.get(f"{url}/v1/models").json()["data"][0]["id"]
    body = {"model": model, "prompt": [1] * 12, "max_tokens": 1}
    requests = [{"path": "/v1/completions", "json": body, "shape": {"prompt_tokens": 12}}]
    return [HttpTarget("vllm", url, requests)]
