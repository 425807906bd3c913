"""The warmup of one server, from outside: its job is started, followed, and started again."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import httpx
from httpx_sse import SSEError, aconnect_sse

from compilespan.ledger.rows import TotalsRow
from compilespan_service.cli.fleet.addresses import asked, problem, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

State = Literal["waiting", "warming", "warm", "not warm", "refused", "unfinished"]

_RETRY = {429, 500, 502, 503, 504}
"""Answers after which the same request may succeed later."""
_PAUSE_S = 1.0
_MAX_PAUSE_S = 15.0
_SILENCE_S = 45.0
"""Seconds without an event or a heartbeat after which a stream is opened again."""
_REFUSALS = {401, 403}
_GOES_ON = {"queued", "running", "cancelling"}
_OVER = {"succeeded", "failed", "timed_out", "cancelled"}
_INVALID = (ValueError, LookupError, TypeError, AttributeError)
"""What the answer of another program raises."""


def _item(values: Any) -> dict[str, Any]:
    """Return an item of a job as it is shown; raises one of `_INVALID`."""
    return {
        "target": str(values["target"]),
        "shape": dict(values["shape"]),
        "state": str(values["state"]),
        "error": str(values["error"]) if values["error"] is not None else None,
    }


class RestartedError(Exception):
    """The server does not know its job any more."""


@dataclass
class Warming:
    """One server.

    Attributes:
        url: Where its endpoints are.
        state: ``refused`` if it will not warm up, ``unfinished`` if there was no more time.
        note: Why it waits, or what went wrong.
        job: Its job as it was last seen; ``None`` before.
        items: The items of the job: ``target``, ``shape``, ``state``, ``error``.
        warnings: Of the job.
        compile_s: Seconds of compiles by component, of this job so far.
        total: All that its job compiled, as it was last seen.
    """

    url: str
    state: State = "waiting"
    note: str = ""
    job: dict[str, Any] | None = None
    items: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    compile_s: dict[str, float] = field(default_factory=dict)
    total: TotalsRow = field(default_factory=TotalsRow)
    _began_s: float = field(default_factory=time.monotonic)
    _ended_s: float | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the command asked for it, until it was warm or given up."""
        return (self._ended_s or time.monotonic()) - self._began_s

    async def run(self, client: httpx.AsyncClient, headers: Mapping[str, str]) -> None:
        """Warm it up: wait until it is there, and follow its jobs until one has ended.

        Args:
            client: Whom it is asked with.
            headers: Of each request: trace context and token.
        """
        try:
            while self.state in ("waiting", "warming"):
                await self._once(client, headers)
        except asyncio.CancelledError:
            self.state = "unfinished"
            raise
        finally:
            self._ended_s = time.monotonic()

    async def _once(self, client: httpx.AsyncClient, headers: Mapping[str, str]) -> None:
        try:
            answer = await asked(client, "POST", f"{self.url}/warmup", headers=dict(headers))
            if answer.is_success:
                self._take(answer.json())
                if not self._is_over():
                    await self._follow(client, headers)
            elif answer.status_code == httpx.codes.CONFLICT:
                await self._wait(answer, f"waiting: {problem(answer)}")
            elif answer.status_code in _RETRY:
                await self._wait(answer, f"not ready for it: {problem(answer)}")
            else:
                self.state, self.note = "refused", problem(answer)
        except RestartedError:
            self.state, self.note, self.job = "waiting", "it was restarted", None
        except httpx.HTTPError as error:
            self.state, self.note = "waiting", f"no answer: {str(error) or type(error).__name__}"
            await asyncio.sleep(_PAUSE_S)
        except _INVALID as error:
            self.state = "refused"
            self.note = f"it answers as no compilespan does: {type(error).__name__}: {error}"

    async def _follow(self, client: httpx.AsyncClient, headers: Mapping[str, str]) -> None:
        """Follow the job until it is over; a stream that breaks is resumed."""
        last_id, job_url = "", f"{self.url}/warmup/jobs/{self._id}"
        while self.state == "warming":
            resumed = {**headers, **({"Last-Event-ID": last_id} if last_id else {})}
            try:
                async with aconnect_sse(
                    client, "GET", f"{job_url}/events", headers=resumed, timeout=_SILENCE_S
                ) as stream:
                    if stream.response.status_code == httpx.codes.OK:
                        async for event in stream.aiter_sse():
                            last_id = event.id or last_id
                            self._event(event.event, event.data)
            except (httpx.HTTPError, SSEError) as error:
                self.note = f"no answer: {str(error) or type(error).__name__}"
                await asyncio.sleep(_PAUSE_S)
            if self.state == "warming":
                await self._look(client, job_url, headers)

    async def _look(
        self, client: httpx.AsyncClient, job_url: str, headers: Mapping[str, str]
    ) -> None:
        """Ask for the job once: its stream was cut, or there are too many.

        Raises:
            RestartedError: The server does not know it.
        """
        try:
            answer = await asked(client, "GET", job_url, headers=dict(headers))
        except httpx.HTTPError:  # it may be restarting
            await asyncio.sleep(_PAUSE_S)
            return
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise RestartedError
        if answer.is_success:
            self._take(answer.json())
        elif answer.status_code in _REFUSALS:
            self.state, self.note = "refused", problem(answer)
        else:
            self.note = problem(answer)
        if self.state == "warming":
            await asyncio.sleep(_PAUSE_S)

    def _event(self, name: str, data: str) -> None:
        if name not in ("job", "item", "compile", "end"):
            return
        with suppress(*_INVALID):  # the job itself is asked for when the stream ends
            self._tell(name, json.loads(data))

    def _tell(self, name: str, values: Any) -> None:
        if name in ("job", "end"):
            self._take(values)
        elif name == "compile":
            record = values["compile"]
            if record["kind"] == "compile":
                component = str(record["component"])
                spent_s = self.compile_s.get(component, 0.0) + float(record["duration_s"])
                self.compile_s[component] = spent_s
        else:
            for number, item in enumerate(self.items):
                if (item["target"], item["shape"]) == (values["target"], values["shape"]):
                    self.items[number] = _item(values)

    def _take(self, job: dict[str, Any]) -> None:
        """Take over a job as the server shows it."""
        if not isinstance(job["id"], str) or job["state"] not in _GOES_ON | _OVER:
            msg = "its job has no id, or an unknown state"
            raise TypeError(msg)
        items = [_item(each) for each in job["items"]]
        warnings = [str(each) for each in job.get("warnings") or ()]
        rows = {component: float(row["compile_s"]) for component, row in job["totals"].items()}
        columns = TotalsRow.__dataclass_fields__
        total = job["totals"]["total"].items()
        self.total = TotalsRow(**{column: value for column, value in total if column in columns})
        rows.pop("total")
        self.job, self.note, self.compile_s = job, "", rows
        self.items, self.warnings = items, warnings
        is_warm = bool(job.get("already_warm")) or job["state"] == "succeeded"
        if job["state"] not in _OVER:
            self.state = "warming"
        else:
            self.state = "warm" if is_warm else "not warm"
            self.note = "" if is_warm else str(job.get("error") or job["state"])

    def _is_over(self) -> bool:
        return self.state in ("warm", "not warm")

    @property
    def _id(self) -> str:
        return str(self.job["id"]) if self.job is not None else ""

    @property
    def cancel_url(self) -> str | None:
        """Where a job that goes on can be cancelled, with DELETE."""
        if self.job is None or self.job["state"] in _OVER:
            return None
        return f"{shown(self.url)}/warmup/jobs/{self._id}"

    async def _wait(self, answer: httpx.Response, note: str) -> None:
        self.note = note
        try:
            pause_s = float(answer.headers.get("Retry-After", _PAUSE_S))
        except ValueError:
            pause_s = _PAUSE_S
        await asyncio.sleep(min(max(pause_s, _PAUSE_S), _MAX_PAUSE_S))
