"""One example for each answer, shown in the documentation: the demo's cold start."""

from __future__ import annotations

from typing import Any

_AT = "2026-03-02T10:40:00Z"
_NOTHING: dict[str, Any] = {
    **dict.fromkeys(("compile_s", "wall_s", "failed_s", "load_s", "kernel_s", "longest_s"), 0.0),
    **dict.fromkeys(("cpu_s", "cpu_wait_s"), 0.0),
    **dict.fromkeys(("compiles", "skipped", "failed", "loads", "captures", "kernels"), 0),
    "recompiles": 0,
    **dict.fromkeys(("graphs", "cache_hits", "cache_misses"), 0),
    **dict.fromkeys(("cache_bypasses", "cache_rebuilds"), 0),
}


def _row(seconds: float, compiles: int, recompiles: int = 0) -> dict[str, Any]:
    return {
        **_NOTHING,
        **dict.fromkeys(("compile_s", "wall_s"), seconds),
        "longest_s": seconds / compiles,
        "cpu_s": round(seconds * 0.3, 2),
        **dict.fromkeys(("compiles", "graphs", "cache_misses"), compiles),
        "recompiles": recompiles,
    }


_ENCODER, _LANGUAGE_MODEL, _TOTAL = _row(16.75, 1), _row(18.25, 2, 1), _row(35.0, 3, 1)
_COMPONENTS = {
    "encoder": _ENCODER,
    "language_model": _LANGUAGE_MODEL,
    "other": _NOTHING,
    "total": _TOTAL,
}
_VERSIONS = {"python": "3.11.7", "torch": "2.13.0"}

TOTALS: dict[str, Any] = {
    **_COMPONENTS,
    "schema": 1,
    "scope": {"kind": "instance", "instance": "7f3a5c0d1e2b4a69", "processes": 1, "complete": True},
    "since": _AT,
    "as_of": "2026-03-02T10:41:00Z",
    "ready_after_s": 43.9,
    "versions": _VERSIONS,
    "by_phase": {"warmup": _TOTAL},
    "by_name": {"CLIPVisionModel": _ENCODER, "LlamaModel": _LANGUAGE_MODEL},
    "by_process": {"4242": _TOTAL},
    "by_stage": {"trace": 1.6, "autograd": 1.1, "lower": 6.1, "kernels": 24.7, "cache": 1.5},
    "start": {"boot": 0.2, "compile": 35.0, "load": 1.9, "import": 4.3, "other": 2.5},
    "cache": {
        **dict.fromkeys(("fetched_files", "fetched_bytes", "fetched_graphs", "used_graphs"), 0),
        "unused_graphs": [],
        "published_files": 31,
        "quarantined": 0,
        "saved_s": 0.0,
        "fetch_s": 0.1,
        "wait_s": 0.0,
        "publish_s": 0.4,
    },
    "in_progress": [],
}
JOB: dict[str, Any] = {
    "id": "3b7547db358911de",
    "state": "succeeded",
    "created_at": _AT,
    "started_at": _AT,
    "ended_at": "2026-03-02T10:40:36Z",
    "elapsed_s": 36.2,
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
    "items": [
        {
            "target": "llava-demo",
            "shape": {"tokens": 16},
            "state": "warm",
            "calls": 3,
            "compile_s": 25.4,
            "compiles": 2,
            "cache_result": "miss",
            "error": None,
        }
    ],
    "totals": _COMPONENTS,
    "warnings": [],
    "error": None,
    "already_warm": False,
    "processes": "1 of 1",
}
COMPILE: dict[str, Any] = {
    "name": "LlamaModel",
    "is_encoder": False,
    "component": "language_model",
    "kind": "compile",
    "trigger": "dynamo",
    "phase": "serving",
    "outcome": "ok",
    "error_type": None,
    "error_message": None,
    "started_at": _AT,
    "duration_s": 9.65,
    "stages": {"trace": 0.45, "autograd": 0.3, "lower": 1.8, "kernels": 6.9, "cache": 0.2},
    "cpu_s": 2.71,
    "cpu_wait_s": 0.04,
    "graphs": 1,
    "cache_hits": 0,
    "cache_misses": 1,
    "cache_bypasses": 0,
    "cache_rebuilds": 0,
    "cache_result": "miss",
    "is_recompile": True,
    "recompile_reason": "1/0: tensor 'input_ids' size mismatch at index 1. expected 16, actual 17",
    "recompile_limit_hit": False,
    "request": "POST /generate",
    "skip_reason": None,
    "file": "/srv/models/llama.py",
    "line": 27,
    "graph_breaks": [],
    "events": [
        {
            "name": "torch.compile.graph",
            "at": "2026-03-02T10:40:09Z",
            "attributes": {"torch.compile.graph.index": 0, "torch.compile.cache.result": "miss"},
        }
    ],
    "compile_ids": ["1/1"],
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
    "span_id": "b7ad6b7169203331",
    "pid": 4242,
    "thread_id": 139842,
}
START: dict[str, Any] = {
    **_COMPONENTS,
    "instance": "7f3a5c0d1e2b4a69",
    "started_at": _AT,
    "processes": 1,
    "versions": _VERSIONS,
    "device": "cpu",
    "cache": "cold",
    "ready_after_s": None,
    "serving_s": 0.0,
    "start": {"boot": 0.2, "compile": 412.0, "load": 5.6, "import": 4.3},
    "compile": {"language_model": 412.0},
    "beside": {"import": 3.1},
    "imports": {"torch": 2.4, "transformers": 1.9},
    "segments": [
        {
            "part": "load",
            "name": "llava-demo",
            "component": None,
            "started_at": _AT,
            "duration_s": 5.6,
        }
    ],
    "ended": "killed",
    "interrupted": [
        {
            "name": "LlamaModel",
            "is_encoder": False,
            "component": "language_model",
            "pid": 4242,
            "started_at": _AT,
            "elapsed_s": 412.0,
            "graphs": 31,
            "stage": "kernels",
        }
    ],
    "memory": {"peak_bytes": 8_482_560_000, "limit_bytes": 8_589_934_592},
    "trace_url": "https://grafana.example/explore?traceId={trace_id}",
}
FINDING: dict[str, Any] = {
    "code": "CS010",
    "what": "LlamaModel compiled again once: dimension 1 of `ids` changed",
    "seconds": 9.65,
    "count": 1,
    "name": "LlamaModel",
    "file": "/srv/models/llama.py",
    "line": 27,
    "evidence": "tensor 'ids' size mismatch at index 1. expected 16, actual 17",
    "fix": "TORCH_COMPILE_DYNAMIC_SOURCES=\"L['ids']\" in the environment",
    "link": "https://docs.pytorch.org/docs/stable/torch.compiler_dynamic_shapes.html",
    "is_serious": False,
}
HEALTH: dict[str, Any] = {"state": "cold", "phase": "warmup", "elapsed_s": 12.3, "detail": None}
