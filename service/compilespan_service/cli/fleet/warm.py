"""``compilespan warm URL…``: warm up servers, and follow them until all are warm."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import typer
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from compilespan import semconv
from compilespan.telemetry.propagation import environment_context
from compilespan_service.cli.fleet import addresses, display
from compilespan_service.cli.fleet.addresses import TOKEN, FromFile, TokenEnv, Urls
from compilespan_service.cli.fleet.warming import Warming
from compilespan_service.cli.stores import Json
from compilespan_service.reporters.characters import console_on

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TIMEOUT_S = 3_600.0
FAILED, DEADLINE, INTERRUPTED = 1, 3, 130
_CALL_S = 30.0
_SHOW_EVERY_S = 0.25


def warm(
    urls: Urls = None,
    from_file: FromFile = None,
    timeout: Annotated[
        float, typer.Option(min=0, help="Seconds after which the command gives up.")
    ] = TIMEOUT_S,
    concurrency: Annotated[
        int, typer.Option(min=1, help="Servers that are warmed up at the same time.")
    ] = 64,
    resolve: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Warm up each address that a name has, e.g. of a headless service; wait until "
            "there are N.",
            show_default=False,
        ),
    ] = None,
    token_env: TokenEnv = TOKEN,
    as_json: Json = False,
) -> None:
    """Warm up servers at the same time, and follow them until all are warm.

    A server that is not up yet is waited for; after a restart its warmup is started again. All are
    in one trace, if the OTEL_* variables name an endpoint.

    Exits with 0 if all are warm, 1 if some are not, 3 if time is up, 130 after Ctrl+C.

    Example: compilespan warm http://10.0.0.4:8000 http://10.0.0.5:8000 --timeout 1800
    """
    found = addresses.addresses("warm", urls, from_file)
    headers = addresses.headers("warm", token_env)
    if resolve is not None:
        found, timeout = _every_address(found, resolve, timeout)
    servers = [Warming(url) for url in found]
    is_interrupted = False
    with _one_trace(len(servers)) as (carrier, trace_id):
        try:
            asyncio.run(_warm(servers, {**headers, **carrier}, timeout, concurrency))
        except KeyboardInterrupt:
            is_interrupted = True
    if as_json:
        said = {"trace_id": trace_id, "servers": [_document(each) for each in servers]}
        typer.echo(json.dumps(said, indent=1))
    else:
        with suppress(BrokenPipeError):
            display.table(servers, console_on(sys.stdout))
    _say_what_goes_on(servers, token_env if headers else None)
    if is_interrupted:
        raise typer.Exit(INTERRUPTED)
    if any(each.state == "unfinished" for each in servers):
        raise typer.Exit(DEADLINE)
    if any(each.state != "warm" for each in servers):
        raise typer.Exit(FAILED)


def _every_address(names: list[str], count: int, timeout_s: float) -> tuple[list[str], float]:
    """Return the addresses of names, and the seconds that are left.

    Raises:
        Exit: There are fewer than ``count`` when time is up.
    """
    began_s = time.monotonic()
    found = addresses.resolved(names, count, timeout_s)
    if len(found) < count:
        shown = ", ".join(map(addresses.shown, names))
        short = f"{shown} has {len(found)} of {count} addresses, and time is up"
        typer.echo(f"compilespan warm: {short}", err=True)
        raise typer.Exit(DEADLINE)
    return found, max(0.0, timeout_s - (time.monotonic() - began_s))


async def _warm(
    servers: Sequence[Warming], headers: dict[str, str], timeout_s: float, concurrency: int
) -> None:
    """Warm up all servers until the deadline; what is not done by then is ``unfinished``."""
    places = asyncio.Semaphore(concurrency)
    limits = httpx.Limits(max_connections=2 * concurrency, max_keepalive_connections=concurrency)

    async def one(server: Warming, client: httpx.AsyncClient) -> None:
        async with places:
            await server.run(client, headers)

    with display.Display(servers, sys.stderr) as shown:
        async with httpx.AsyncClient(timeout=_CALL_S, limits=limits) as client:
            tasks = [asyncio.create_task(one(each, client)) for each in servers]
            deadline_s = asyncio.get_running_loop().time() + timeout_s
            pending = set(tasks)
            try:
                while pending and asyncio.get_running_loop().time() < deadline_s:
                    _, pending = await asyncio.wait(pending, timeout=_SHOW_EVERY_S)
                    shown.update()
            finally:
                for task in pending:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                for each in servers:
                    if each.state in ("waiting", "warming"):  # it never had a place
                        each.state = "unfinished"


@contextmanager
def _one_trace(count: int) -> Iterator[tuple[dict[str, str], str | None]]:
    """Open the span over all servers; yield the headers that continue it, and its trace id."""
    try:
        from compilespan.sdk import configure  # noqa: PLC0415  # extra otlp

        providers = configure("compilespan warm", set_global=False)
    except (ImportError, ValueError):  # the context of the environment is passed on at least
        providers = None
    provider = providers.tracer_provider if providers is not None else None
    tracer = trace.get_tracer("compilespan_service", semconv.__version__, provider)
    attributes: dict[str, Any] = {semconv.FLEET_NAME: "warm", semconv.FLEET_REPLICAS: count}
    with tracer.start_as_current_span(
        semconv.SPAN_FLEET, environment_context(), attributes=attributes
    ) as span:
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        context = span.get_span_context()
        yield carrier, trace.format_trace_id(context.trace_id) if context.is_valid else None
    if providers is not None:
        providers.shutdown()


def _document(server: Warming) -> dict[str, Any]:
    return {
        "url": addresses.shown(server.url),
        "state": server.state,
        "start": display.start_of(server),
        "elapsed_s": round(server.elapsed_s, 3),
        "note": server.note,
        "job": server.job,
    }


def _say_what_goes_on(servers: Sequence[Warming], token_env: str | None) -> None:
    """Say which jobs nobody follows any more, and how to cancel them."""
    going = [each.cancel_url for each in servers if each.cancel_url is not None]
    if going:
        secret = f' -H "Authorization: Bearer ${token_env}"' if token_env else ""
        typer.echo("these warmups go on; cancel them with:", err=True)
        for url in going:
            typer.echo(f"  curl -X DELETE{secret} {url}", err=True)
