"""The requests that warm a server of vLLM: those that clients usually send.

Each kind of sampling has its own kernels and code, which vLLM's profiling does not run. So without
a warmup, the first client that uses ``logprobs`` waits for them.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import secrets
from typing import TYPE_CHECKING, Any

from compilespan.process.faults import contained
from compilespan_service.vllm.free import free_requests, left_out
from compilespan_service.vllm.images import image_requests

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Mapping, Sequence

    from compilespan.warmup.plan import JsonScalar

PROMPT_LENGTHS = "COMPILESPAN_VLLM_PROMPT_LENGTHS"
RANK_HEADER = "X-data-parallel-rank"
_RANKED = ("/v1/completions", "/v1/chat/completions")
_DEFAULT_LENGTHS = "16,128"
_NEW_TOKENS = 4
_CONCURRENT = 4
_LOGPROBS = 5
_TOKEN = 1
_SAMPLINGS: Mapping[str, Mapping[str, Any]] = {
    "greedy": {"temperature": 0},
    "top_p": {"temperature": 0.7, "top_p": 0.9, "top_k": 20},
    "penalties": {"presence_penalty": 0.5, "frequency_penalty": 0.5, "repetition_penalty": 1.1},
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


@dataclasses.dataclass(frozen=True, slots=True)
class Served:
    """What a server of vLLM serves.

    Attributes:
        model: Name that requests must use.
        task: ``generate``, or the one pooling task that vLLM has chosen; ``None`` if we have no
            requests for its tasks.
        max_tokens: Limit of a prompt and its completion together; ``None`` if unknown.
        max_requests: Limit of requests that run at once.
        max_logprobs: Limit of logprobs for a request; -1 for no limit.
        ranks: Number of data-parallel engines; each request runs on one of them.
        has_tokenizer: Whether the server can read and write text.
    """

    model: str
    task: str | None = "generate"
    max_tokens: int | None = None
    max_requests: int = _CONCURRENT
    max_logprobs: int = _LOGPROBS
    ranks: int = 1
    has_tokenizer: bool = True

    @classmethod
    def of(cls, args: Namespace, config: Any, tasks: Sequence[str]) -> Served:
        """Read vLLM's arguments, and its configuration if the engine is known."""
        names = getattr(args, "served_model_name", None) or [args.model]
        model = getattr(config, "model_config", None)
        scheduler = getattr(config, "scheduler_config", None)
        return cls(
            names if isinstance(names, str) else names[0],
            _task(model, tasks),
            getattr(model, "max_model_len", None),
            getattr(scheduler, "max_num_seqs", _CONCURRENT),
            getattr(model, "max_logprobs", _LOGPROBS),
            _ranks(getattr(config, "parallel_config", None)),
            not getattr(args, "skip_tokenizer_init", False),
        )


def _task(model: Any, tasks: Sequence[str]) -> str | None:
    if "generate" in tasks or not tasks:
        return "generate"
    choose = getattr(model, "get_pooling_task", None)
    if choose is not None:  # its other tasks have no endpoint then
        with contained("get vLLM's pooling task"):
            chosen: str | None = choose(tuple(tasks))
            return chosen
    return next((task for task in _POOLING if task in tasks), None)


def _ranks(parallel: Any) -> int:
    """Return the number of engines that a request to this server may name."""
    if getattr(parallel, "data_parallel_external_lb", False):
        return 1
    if getattr(parallel, "local_engines_only", False):  # a balancer chooses among the servers
        return int(getattr(parallel, "data_parallel_size_local", 1))
    return int(getattr(parallel, "data_parallel_size", 1))


def requests(served: Served) -> list[dict[str, Any]]:
    """Return the requests in the form that `HttpTarget` takes.

    ``COMPILESPAN_VLLM_PROMPT_LENGTHS`` lists numbers of tokens (``16,128``; empty for no such
    requests), ``COMPILESPAN_VLLM_IMAGE_SIZES`` pixels (``224x224``) for models that take images,
    and ``COMPILESPAN_VLLM_REQUESTS`` any requests: a JSON list, or the path of a file with one.
    Invalid values are logged and skipped.
    """
    named = [*_default(served), *image_requests(served.model), *free_requests(served.model)]
    return [
        each
        for rank in range(served.ranks)
        for request in named
        if (each := _at(rank, request, served.ranks)) is not None
    ]


def _at(rank: int, request: dict[str, Any], ranks: int) -> dict[str, Any] | None:
    """Return a request for one engine; only completions may name the engine."""
    if ranks == 1 or not request["path"].startswith(_RANKED):
        return request if rank == 0 else None
    return {
        **request,
        "headers": {**request.get("headers", {}), RANK_HEADER: str(rank)},
        "shape": {**request["shape"], "data_parallel_rank": rank},
    }


def _default(served: Served) -> Iterator[dict[str, Any]]:
    lengths = list(_lengths(served))
    if not lengths:
        return
    short = lengths[0]
    if served.task == "generate":
        for length in lengths:
            yield _completion(served, length, {})
        for name, sampling in _samplings(served).items():
            yield _completion(served, short, sampling, {"sampling": name})
        if served.has_tokenizer and any(map(importlib.util.find_spec, _GRAMMARS)):
            choice = {"structured_outputs": {"choice": ["yes", "no"]}}
            yield _completion(served, short, choice, {"output": "structured"})
        together = _completion(served, short, {}, {"concurrent": _concurrent(served)})
        yield {**together, "concurrent": _concurrent(served)}
    elif served.task in _POOLING:
        for length in lengths:
            yield _pooling(served, served.task, length)
        together = _pooling(served, served.task, short, {"concurrent": _concurrent(served)})
        yield {**together, "concurrent": _concurrent(served)}


def _samplings(served: Served) -> dict[str, Mapping[str, Any]]:
    """Return the kinds of sampling that the server supports."""
    logprobs = _LOGPROBS if served.max_logprobs < 0 else min(_LOGPROBS, served.max_logprobs)
    if logprobs and served.has_tokenizer:
        return {**_SAMPLINGS, "logprobs": {"logprobs": logprobs}}
    return dict(_SAMPLINGS)


def _lengths(served: Served) -> Iterator[int]:
    """Yield the distinct lengths of prompts, cut to what fits."""
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
            left_out(name, f"{word!r} is not a number of tokens, e.g. 16,128")


def _concurrent(served: Served) -> int:
    pooled = served.ranks if served.task in _POOLING else 1  # vLLM chooses the engine for these
    return max(1, min(_CONCURRENT, served.max_requests)) * pooled


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
            "cache_salt": secrets.token_hex(8),  # else the prefix cache answers the second call
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
