"""Call a warmup item once, where serving runs it, and observe what ran."""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import threading
import time
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, NamedTuple

from compilespan.dynamo.watch import compiled_code_watch
from compilespan.monitor.counts import UNSEEN, Seen
from compilespan.warmup.loops import wait_for

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from concurrent.futures import Executor

    from compilespan.monitor.surroundings import Surroundings
    from compilespan.warmup.plan import Shape, WarmupTarget


def load(target: WarmupTarget) -> None:
    """Load the weights of a target, and await what ``load`` returns.

    Raises:
        Exception: Whatever ``load`` raises.
    """
    if target.load is not None:
        loaded = target.load()
        if inspect.isawaitable(loaded):
            wait_for(loaded)


def call(target: WarmupTarget, shape: Shape) -> None:
    """Run a target once, in its executor if it has one, and await what it returns.

    Raises:
        TypeError: ``run`` is a generator function: calling it executes nothing.
        Exception: Whatever ``run`` raises.
    """
    returned = _run_where_serving_runs(target, shape)
    if isinstance(returned, Future):  # of a thread that the target itself uses
        returned.result()


def _run_where_serving_runs(target: WarmupTarget, shape: Shape) -> Any:
    if target.executor is None:
        return _run(target, shape)
    context = contextvars.copy_context()
    future = target.executor.submit(context.run, _run, target, shape)
    # A thread pool lists a new thread only after it has started it, so check repeatedly.
    while not wait([future], timeout=_ASK_AGAIN_S).done:
        if _is_thread_of(target.executor) and future.cancel():
            return _run(target, shape)
    return future.result()


_ASK_AGAIN_S = 0.05
_QUIET_S, _LONGEST_QUIET_S = 0.25, 5.0


class Ran(NamedTuple):
    """What ran in one call.

    Attributes:
        hits: How often compiled code was entered.
        misses: How often no compiled code fitted.
        elsewhere: How often compiled code was entered in contexts other than the call's.
    """

    hits: int
    misses: int
    elsewhere: int


def call_watched(
    target: WarmupTarget, shape: Shape, own: Surroundings, others: Collection[Surroundings]
) -> Ran:
    """Run a target once, and count the compiled code that ran.

    A loop that the first call of another target started may also serve this one. So compiled code
    in the surroundings of other targets counts, unless it also runs without a call.

    Args:
        target: The target to run.
        shape: The shape to run it with.
        own: The surroundings of its calls.
        others: The surroundings of the calls of other targets.
    """
    before, _ = UNSEEN.read()
    with compiled_code_watch, _counted(own) as mine, _counted(*others) as theirs:
        began = time.monotonic()
        call(target, shape)
        took_s = time.monotonic() - began
    ran, shared = Ran(*mine.read(), 0), Ran(*theirs.read(), 0)
    if others and not ran.hits and shared.hits and not _runs_by_itself(others, took_s):
        ran = shared
    after, _ = UNSEEN.read()
    return ran._replace(elsewhere=after - before - 1)


@contextlib.contextmanager
def _counted(*around: Surroundings) -> Iterator[Seen]:
    seen = Seen()
    for each in around:
        each.counts.seen = seen
    try:
        yield seen
    finally:
        for each in around:
            each.counts.seen = UNSEEN


def _runs_by_itself(others: Collection[Surroundings], took_s: float) -> bool:
    """Whether compiled code runs in these surroundings without a call."""
    with compiled_code_watch, _counted(*others) as seen:
        time.sleep(min(max(took_s, _QUIET_S), _LONGEST_QUIET_S))
    hits, _ = seen.read()
    return hits > 0


def _run(target: WarmupTarget, shape: Shape) -> Any:
    result = target.run(shape)
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        if inspect.isgenerator(result):
            result.close()
        msg = (
            f"run of the target {target.name!r} is a generator, so calling it executes nothing; "
            "call the model and return, without yield"
        )
        raise TypeError(msg)
    return wait_for(result) if inspect.isawaitable(result) else result


def _is_thread_of(executor: Executor) -> bool:
    """Whether this is a thread of the executor: waiting here for another call could deadlock."""
    threads: Any = ()
    with contextlib.suppress(Exception):  # a private attribute of ThreadPoolExecutor
        threads = executor._threads  # type: ignore[attr-defined]  # noqa: SLF001
    return threading.current_thread() in threads
