"""Our endpoints on vLLM's own server.

    vllm serve … --middleware compilespan_service.vllm.CompileRoutes

All processes of the server are covered by their journals, which the plugin opens when it finds
this middleware in the command line. The warmup goes through the server's own completion API.
"""

from __future__ import annotations

import base64
import io
import os
import threading
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from pydantic import SecretStr
from starlette.exceptions import HTTPException

from compilespan import get_ledger
from compilespan_service.app import TELEMETRY, attach, start
from compilespan_service.door.problems import ProblemError, answer_problem
from compilespan_service.door.security import Guard, own_names
from compilespan_service.door.tokens import token_digest
from compilespan_service.settings import Settings
from compilespan_service.state import open_state
from compilespan_service.warmups.http_target import HttpTarget
from compilespan_service.warmups.runner import Runner

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

# vLLM has /metrics, /health, /docs and /openapi.json itself.
_OURS = ("/totals", "/compiles", "/history", "/warmup", "/livez", "/page/")
_PROMPT_LENGTHS = "COMPILESPAN_VLLM_PROMPT_LENGTHS"
_IMAGE_SIZES = "COMPILESPAN_VLLM_IMAGE_SIZES"
_DEFAULT_LENGTHS = "16,128"


class CompileRoutes:
    """ASGI middleware that answers our paths and hands all others on."""

    def __init__(self, app: ASGIApp) -> None:
        """Take vLLM's app; nothing is made before the first request of ours."""
        self._app = app
        self._ours: FastAPI | None = None
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        path = str(scope.get("path", ""))
        if scope["type"] != "http" or not (path == "/" or path.startswith(_OURS)):
            await self._app(scope, receive, send)
            return
        if get_ledger().journal is None:
            problem = ProblemError(
                "plugin-off",
                "compilespan's plugin is off in this process, so nothing was recorded: start vLLM "
                "with this middleware on its command line or COMPILESPAN_STATE_DIR set, and leave "
                "VLLM_PLUGINS unset or let it name compilespan.",
            )
            await problem.response()(scope, receive, send)
            return
        await self._made(scope)(scope, receive, send)

    def _made(self, scope: Scope) -> FastAPI:
        with self._lock:
            if self._ours is None:
                host, port = scope.get("server") or ("127.0.0.1", 8000)
                self._ours = _app(f"http://{_reachable(host)}:{port}")
            return self._ours


def _app(url: str) -> FastAPI:
    settings = Settings(warmup="on-request", ready_when="loaded")
    if settings.token is None and settings.token_file is None and "VLLM_API_KEY" in os.environ:
        settings = settings.model_copy(update={"token": SecretStr(os.environ["VLLM_API_KEY"])})
    open_state(settings.state_dir)
    # The start is vLLM's: the plugin opened its span when the first process began.
    runner = Runner(lambda: lambda: [completions(url)], settings.policy, own_startup=False)
    handlers: dict[int | type[Exception], Any] = {HTTPException: answer_problem}
    app = FastAPI(
        openapi_url=None, exception_handlers=handlers, redirect_slashes=False, **TELEMETRY
    )
    digest = token_digest(settings.token, settings.token_file)
    is_checked = digest is None or settings.allowed_hosts
    hosts = own_names(None, settings.allowed_hosts) if is_checked else None
    guard = Guard(digest, changes_allowed=False, hosts=hosts)
    readings = attach(app, runner, guard, processes=settings.processes)
    runner.open()
    readings.open()
    start(runner, readings)
    return app


def completions(url: str) -> HttpTarget:
    """Return vLLM's completion API as a target: prompts of several lengths, images of sizes.

    ``COMPILESPAN_VLLM_PROMPT_LENGTHS`` has tokens (``16,128``), ``COMPILESPAN_VLLM_IMAGE_SIZES``
    pixels (``224x224``), for models that take images.
    """
    key = os.environ.get("VLLM_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    model = _model(url, headers)
    lengths = [int(n) for n in os.environ.get(_PROMPT_LENGTHS, _DEFAULT_LENGTHS).split(",") if n]
    requests: list[dict[str, Any]] = [
        {
            "path": "/v1/completions",
            "json": {"model": model, "prompt": [1] * length, "max_tokens": 1},
            "shape": {"prompt_tokens": length},
        }
        for length in lengths
    ]
    for size in filter(None, os.environ.get(_IMAGE_SIZES, "").split(",")):
        width, _, height = size.partition("x")
        requests.append(
            {
                "path": "/v1/chat/completions",
                "json": _with_image(model, int(width), int(height)),
                "shape": {"image_width": int(width), "image_height": int(height)},
            }
        )
    return HttpTarget("vllm", url, requests, headers=headers)


def _model(url: str, headers: dict[str, str]) -> str:
    import httpx  # noqa: PLC0415  # only for a warmup

    response = httpx.get(f"{url}/v1/models", headers=headers, timeout=60)
    return str(response.raise_for_status().json()["data"][0]["id"])


def _with_image(model: str, width: int, height: int) -> dict[str, Any]:
    image = {"type": "image_url", "image_url": {"url": _picture(width, height)}}
    return {
        "model": model,
        "max_tokens": 1,
        "messages": [{"role": "user", "content": [image, {"type": "text", "text": "What?"}]}],
    }


def _picture(width: int, height: int) -> str:
    """Return a grey PNG of this size as a data URL."""
    from PIL import Image  # noqa: PLC0415  # vLLM has it, and nobody else needs it

    png = io.BytesIO()
    Image.new("L", (width, height), 128).save(png, "PNG")
    return f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"


def _reachable(host: str) -> str:
    """Return where a server that listens on ``host`` is reached from its own machine."""
    if host in ("0.0.0.0", "", "::"):  # noqa: S104  # nothing is bound here
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
