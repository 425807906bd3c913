"""The requests that warm a server of vLLM: what its clients are known to send.

Each kind of sampling has kernels and code of its own, which vLLM's own profiling does not reach:
the first client that asks for ``logprobs`` would wait for them.
"""

from __future__ import annotations

import base64
import dataclasses
import importlib.util
import io
import json
import logging
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Mapping, Sequence

    from compilespan.warmup.plan import JsonScalar

PROMPT_LENGTHS = "COMPILESPAN_VLLM_PROMPT_LENGTHS"
IMAGE_SIZES = "COMPILESPAN_VLLM_IMAGE_SIZES"
REQUESTS = "COMPILESPAN_VLLM_REQUESTS"
RANK_HEADER = "X-data-parallel-rank"
_DEFAULT_LENGTHS = "16,128"
_NEW_TOKENS = 4
_CONCURRENT = 4
_TOKEN = 1
_SAMPLINGS: Mapping[str, Mapping[str, Any]] = {
    "greedy": {"temperature": 0},
    "top_p": {"temperature": 0.7, "top_p": 0.9, "top_k": 20},
    "penalties": {"presence_penalty": 0.5, "frequency_penalty": 0.5, "repetition_penalty": 1.1},
    "logprobs": {"logprobs": 5},
    "n": {"n": 2, "temperature": 0.7},
}
_NOTHING: Mapping[str, Any] = {}
_GRAMMARS = ("xgrammar", "llguidance", "outlines_core")
_POOLING = {
    "embed": "/v1/embeddings",
    "classify": "/classify",
    "token_embed": "/pooling",
    "token_classify": "/pooling",
}

_logger = logging.getLogger("compilespan")


@dataclasses.dataclass(frozen=True, slots=True)
class Served:
    """What a server of vLLM serves.

    Attributes:
        model: The name that requests have to give.
        tasks: What the model can do, in vLLM's words.
        max_tokens: Of a prompt and its completion together; ``None`` if it is not known.
        max_requests: That it runs at once.
        ranks: Data-parallel engines among which it chooses for each request.
        has_tokenizer: Whether it can read and write text.
    """

    model: str
    tasks: Sequence[str] = ("generate",)
    max_tokens: int | None = None
    max_requests: int = _CONCURRENT
    ranks: int = 1
    has_tokenizer: bool = True

    @classmethod
    def of(cls, args: Namespace, config: Any, tasks: Sequence[str]) -> Served:
        """Read vLLM's arguments, and its configuration where the engine is known."""
        names = getattr(args, "served_model_name", None) or [args.model]
        parallel = getattr(config, "parallel_config", None)
        is_balanced = not getattr(parallel, "data_parallel_external_lb", False)
        return cls(
            names if isinstance(names, str) else names[0],
            tasks or ("generate",),
            getattr(getattr(config, "model_config", None), "max_model_len", None),
            getattr(getattr(config, "scheduler_config", None), "max_num_seqs", _CONCURRENT),
            getattr(parallel, "data_parallel_size", 1) if is_balanced else 1,
            not getattr(args, "skip_tokenizer_init", False),
        )


def requests(served: Served) -> list[dict[str, Any]]:
    """Return the requests, as an `HttpTarget` takes them.

    ``COMPILESPAN_VLLM_PROMPT_LENGTHS`` has tokens (``16,128``; empty for no such requests),
    ``COMPILESPAN_VLLM_IMAGE_SIZES`` pixels (``224x224``) for models that take images, and
    ``COMPILESPAN_VLLM_REQUESTS`` requests of any kind: a JSON list, or the path of a file with one.
    What cannot be read there is logged, and left out.
    """
    named = [*_default(served), *_with_images(served), *_free(served)]
    if served.ranks == 1:
        return named
    return [
        {
            **request,
            "headers": {**request.get("headers", {}), RANK_HEADER: str(rank)},
            "shape": {**request["shape"], "data_parallel_rank": rank},
        }
        for rank in range(served.ranks)
        for request in named
    ]


def _default(served: Served) -> Iterator[dict[str, Any]]:
    lengths = list(_lengths(served))
    if not lengths:
        return
    short = lengths[0]
    if "generate" in served.tasks:
        for length in lengths:
            yield _completion(served, length, {})
        for name, sampling in _SAMPLINGS.items():
            yield _completion(served, short, sampling, {"sampling": name})
        if served.has_tokenizer and any(map(importlib.util.find_spec, _GRAMMARS)):
            choice = {"structured_outputs": {"choice": ["yes", "no"]}}
            yield _completion(served, short, choice, {"output": "structured"})
        together = _completion(served, short, {}, {"concurrent": _concurrent(served)})
        yield {**together, "concurrent": _concurrent(served)}
    elif (task := next((task for task in _POOLING if task in served.tasks), None)) is not None:
        for length in lengths:
            yield _pooling(served, task, length)
        together = _pooling(served, task, short, {"concurrent": _concurrent(served)})
        yield {**together, "concurrent": _concurrent(served)}


def _lengths(served: Served) -> Iterator[int]:
    """Yield the lengths of prompts, none longer than fits, each once."""
    longest = None
    if served.max_tokens is not None:
        longest = max(1, served.max_tokens - _NEW_TOKENS)
    seen = set()
    for number in _numbers(PROMPT_LENGTHS, os.environ.get(PROMPT_LENGTHS, _DEFAULT_LENGTHS)):
        length = max(1, number if longest is None else min(number, longest))
        if length not in seen:
            seen.add(length)
            yield length


def _numbers(name: str, text: str) -> Iterator[int]:
    for word in filter(None, map(str.strip, text.split(","))):
        if word.isdecimal():
            yield int(word)
        else:
            _left_out(name, f"{word!r} is no number of tokens, e.g. 16,128")


def _concurrent(served: Served) -> int:
    return max(1, min(_CONCURRENT, served.max_requests))


def _completion(
    served: Served,
    length: int,
    options: Mapping[str, Any],
    more: Mapping[str, JsonScalar] = _NOTHING,
) -> dict[str, Any]:
    new_tokens = _NEW_TOKENS
    if served.max_tokens is not None:
        new_tokens = max(1, min(_NEW_TOKENS, served.max_tokens - length))

    def body() -> dict[str, Any]:
        prompt = [_TOKEN] * length
        return {
            "model": served.model,
            "prompt": prompt,
            "max_tokens": new_tokens,
            **options,
            "cache_salt": secrets.token_hex(8),  # the prefix cache would answer the second call
        }

    return {"path": "/v1/completions", "json": body, "shape": {"prompt_tokens": length, **more}}


def _pooling(
    served: Served, task: str, length: int, more: Mapping[str, JsonScalar] = _NOTHING
) -> dict[str, Any]:
    path = _POOLING[task]

    def body() -> dict[str, Any]:
        given = {"model": served.model, "input": [_TOKEN] * length}
        if path == "/pooling":
            given["task"] = task
        return {**given, "cache_salt": secrets.token_hex(8)}

    return {"path": path, "json": body, "shape": {"prompt_tokens": length, **more}}


def _with_images(served: Served) -> Iterator[dict[str, Any]]:
    for size in filter(None, map(str.strip, os.environ.get(IMAGE_SIZES, "").split(","))):
        width, _, height = size.partition("x")
        if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
            _left_out(IMAGE_SIZES, f"{size!r} is no size in pixels, e.g. 224x224")
            continue
        image = {"url": _picture(int(width), int(height))}
        content = [{"type": "image_url", "image_url": image}, {"type": "text", "text": "What?"}]
        yield {
            "path": "/v1/chat/completions",
            "json": {
                "model": served.model,
                "max_tokens": 1,
                "messages": [{"role": "user", "content": content}],
            },
            "shape": {"image_width": int(width), "image_height": int(height)},
        }


def _picture(width: int, height: int) -> str:
    """Return a grey PNG of this size as a data URL."""
    from PIL import Image  # noqa: PLC0415  # vLLM has it, and nobody else needs it

    png = io.BytesIO()
    Image.new("L", (width, height), 128).save(png, "PNG")
    return f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"


def _free(served: Served) -> Iterator[dict[str, Any]]:
    text = os.environ.get(REQUESTS, "").strip()
    if not text:
        return
    try:
        found = json.loads(text if text[0] in "[{" else Path(text).read_text("utf-8"))
    except (OSError, ValueError) as error:
        _left_out(REQUESTS, f"it is neither JSON nor a file of it: {error}")
        return
    for number, request in enumerate(found if isinstance(found, list) else [found], 1):
        if not isinstance(request, dict) or not isinstance(request.get("json"), dict):
            _left_out(REQUESTS, f"request {number} is no object with path and json")
            continue
        path = str(request.get("path", "/v1/completions"))
        yield {
            **request,
            "path": path,
            "json": {"model": served.model, **request["json"]},
            "shape": request.get("shape") or {"path": path, "request": number},
        }


def _left_out(name: str, why: str) -> None:
    _logger.error("compilespan: %s: %s; a warmup goes without it", name, why)
