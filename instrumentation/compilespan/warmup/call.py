"""One call of a warmup item: run where serving runs it, and see what ran."""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import threading
from typing import TYPE_CHECKING, Any

from compilespan.dynamo.watch import compiled_code_watch
from compilespan.monitor.surroundings import Seen
from compilespan.warmup.loops import wait_for

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from compilespan.monitor.surroundings import Surroundings
    from compilespan.warmup.plan import Shape, WarmupTarget


def call(target: WarmupTarget, shape: Shape) -> None:
    """Run a target once, in its executor if it has one, and await what it returns.

    Raises:
        TypeError: ``run`` is a generator function: calling it executes nothing.
        Exception: Whatever ``run`` raises.
    """
    if target.executor is None or _is_thread_of(target.executor):
        _run(target, shape)
    else:
        context = contextvars.copy_context()
        target.executor.submit(context.run, _run, target, shape).result()


def call_watched(target: WarmupTarget, shape: Shape, surroundings: Surroundings) -> tuple[int, int]:
    """Run a target once, and count what ran of compiled code.

    Returns:
        How often compiled code was entered, and how often nothing compiled fitted.
    """
    seen = surroundings.seen = Seen()
    with compiled_code_watch:
        call(target, shape)
    return seen.read()


def _run(target: WarmupTarget, shape: Shape) -> None:
    result = target.run(shape)
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        if inspect.isgenerator(result):
            result.close()
        msg = (
            f"run of the target {target.name!r} is a generator, so calling it executes nothing; "
            "return after the model was called, without yield"
        )
        raise TypeError(msg)
    if inspect.isawaitable(result):
        wait_for(result)


def _is_thread_of(executor: Executor) -> bool:
    """Whether this is a thread of the executor: waiting here for another call would never end."""
    threads: Any = ()
    with contextlib.suppress(Exception):  # a private attribute of ThreadPoolExecutor
        threads = executor._threads  # type: ignore[attr-defined]  # noqa: SLF001
    return threading.current_thread() in threads
