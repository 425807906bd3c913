"""A target in another process, warmed through its inference API and read from its journal.

    HttpTarget(
        "llama",
        "http://127.0.0.1:8001",
        [{"path": "/v1/completions", "json": {"prompt": "Hi", "max_tokens": 8}}],
    )

The other server (vLLM, SGLang, anything that compilespan instruments) keeps its journal in the
same state directory: ``COMPILESPAN_STATE_DIR``, on a volume that both share.
"""

from __future__ import annotations

import contextvars
import functools
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from opentelemetry import propagate

from compilespan import WarmupTarget, get_ledger
from compilespan.telemetry.propagation import warmup_context
from compilespan_service.warmups import listening

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from compilespan.warmup.plan import JsonScalar, Shape

_POLL_S = 0.25
_CONNECT_S = 10.0
_MAX_TEXT = 48
_KEYS = frozenset({"path", "method", "json", "headers", "shape", "concurrent"})


class HttpTargetError(Exception):
    """A request to the other server failed; the message says how."""


class HttpTarget:
    """A server in another process, with the requests that warm it."""

    is_of_this_instance = False
    """Whether its processes belong to the start of this process."""
    _transport: httpx.BaseTransport | None = None
    """The transport of its requests; ``None`` for the network."""

    def __init__(
        self,
        name: str,
        url: str,
        requests: Sequence[Mapping[str, Any]],
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        wait_s: float = 1800.0,
        state_dir: Path | None = None,
    ) -> None:
        """Describe the server; nothing is sent yet.

        Args:
            name: Name of the target, unique among the targets.
            url: URL of the server.
            requests: Each with ``path``, ``json`` (the body, or a function that returns it),
                ``method`` (``POST``), ``headers``, ``concurrent`` (how many are sent at once) and
                ``shape`` (a mapping of JSON scalars that labels the item), all optional. A mapping
                with none of these is the body itself, posted to ``url``.
            headers: Headers of each request, e.g. the server's API key.
            timeout_s: Seconds that one item may take; ``None`` for no limit.
            wait_s: Seconds that loading waits for the server's first answer.
            state_dir: Directory of the server's journal. Defaults to that of this process.

        Raises:
            ValueError: The URL is not valid, or ``requests`` is empty.
        """
        if not url.startswith(("http://", "https://")):
            msg = f"HttpTarget {name!r}: the url {url!r} must begin with http:// or https://"
            raise ValueError(msg)
        if not requests:
            msg = f"HttpTarget {name!r} has no requests; give one for each shape to be warmed"
            raise ValueError(msg)
        self.name = name
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._wait_s = wait_s
        self._state_dir = state_dir
        self._headers = dict(headers or {})
        self._requests = {
            json.dumps(shape): request for shape, request in _with_shapes(list(requests))
        }
        self._has_compiled = False

    @functools.cached_property
    def _client(self) -> httpx.Client:
        import httpx  # noqa: PLC0415  # slow: it also imports its command line

        timeout = httpx.Timeout(None, connect=_CONNECT_S)
        return httpx.Client(headers=self._headers, timeout=timeout, transport=self._transport)

    def as_target(self) -> WarmupTarget:
        """Return this server as a `WarmupTarget`."""
        return WarmupTarget(
            self.name,
            self.run,
            shapes=[json.loads(shape) for shape in self._requests],
            load=self.load,
            timeout_s=self._timeout_s,
        )

    def load(self) -> None:
        """Wait until the server answers, with any status.

        Raises:
            HttpTargetError: It does not answer within ``wait_s``.
        """
        deadline = time.monotonic() + self._wait_s
        while True:
            try:
                self._client.get(self._url, timeout=_CONNECT_S)
            except _transport_error() as error:
                if time.monotonic() > deadline:
                    msg = f"{self._url} did not answer within {self._wait_s:.0f} s: {error}"
                    raise HttpTargetError(msg) from error
                time.sleep(_POLL_S)
            else:
                return

    def run(self, shape: Shape) -> None:
        """Send the request of this shape, and report what the server compiles for it.

        Raises:
            HttpTargetError: The server answered with an error or not at all, or still compiles
                long after its answer.
        """
        request = self._requests[json.dumps(dict(shape))]
        directory = self._state_dir
        if directory is None and (journal := get_ledger().journal) is not None:
            directory = journal.directory
        if directory is None:
            self._send(request)
            return
        with listening.Listening(directory, of_this_instance=self.is_of_this_instance) as heard:
            self._send(request)
        self._has_compiled = heard.has_compiled
        if heard.compiling:
            msg = (
                f"the server still compiles {heard.compiling[0]} "
                f"{listening.LONGEST_S:.0f} s after it answered; see the server's log"
            )
            raise HttpTargetError(msg)

    def has_compiled(self) -> bool:
        """Whether a running process of the server was seen to compile or load a model."""
        return self._has_compiled

    def _send(self, request: Mapping[str, Any]) -> None:
        count = int(request.get("concurrent", 1))
        with ThreadPoolExecutor(count) as pool:
            sent = [
                pool.submit(contextvars.copy_context().run, self._send_one, request)
                for _ in range(count)
            ]
        for each in sent:
            each.result()

    def _send_one(self, request: Mapping[str, Any]) -> None:
        described = bool(_KEYS & request.keys())
        method = str(request.get("method", "POST")) if described else "POST"
        url = self._url + str(request.get("path", "") if described else "")
        headers: dict[str, str] = dict(request.get("headers", {}) if described else {})
        propagate.inject(headers, warmup_context())
        body = request.get("json") if described else dict(request)
        if callable(body):
            body = body()
        try:
            response = self._client.request(method, url, json=body, headers=headers)
        except _transport_error() as error:
            msg = f"{method} {url} was not answered ({type(error).__name__}: {error})"
            raise HttpTargetError(msg) from error
        if response.is_error:
            msg = f"{method} {url} answered {response.status_code}: {response.text[:300]}"
            raise HttpTargetError(msg)


def _transport_error() -> type[Exception]:
    import httpx  # noqa: PLC0415  # see `HttpTarget._client`

    return httpx.TransportError


def _with_shapes(
    requests: list[Mapping[str, Any]],
) -> list[tuple[dict[str, JsonScalar], Mapping[str, Any]]]:
    """Give each request a shape: its own, else the scalars of its body, numbered if not unique."""
    found: list[tuple[dict[str, JsonScalar], Mapping[str, Any]]] = []
    for number, request in enumerate(requests, 1):
        described = bool(_KEYS & request.keys())
        shape: dict[str, JsonScalar] = dict(request.get("shape", {})) if described else {}
        if not shape:
            body = request.get("json") if described else request
            for key, value in body.items() if isinstance(body, Mapping) else ():
                if isinstance(value, str | int | float | bool):
                    shape[key] = value[:_MAX_TEXT] if isinstance(value, str) else value
        if not shape or any(shape == other for other, _ in found):
            shape = {"request": number, **shape}
        found.append((shape, request))
    return found
