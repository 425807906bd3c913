"""A monitor that keeps its start time in a global, compared with ours, under nesting and threads.

Servers measure compile time with a start time in a global variable. The "compiles" here sleep, so
that the true time is known.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

from compilespan import get_ledger, monitor_torch_compile

_start_s = 0.0
_counted_s = 0.0


@contextmanager
def global_monitor(_name: str):
    """Keep the start time in one global variable and the sum in another."""
    global _start_s, _counted_s
    _start_s = time.perf_counter()
    yield
    _counted_s += time.perf_counter() - _start_s


@contextmanager
def ours(name: str):
    with monitor_torch_compile(name, kind="compile", message=""):
        yield


def nested(monitor) -> None:
    """1.3 s: a block of 1 s, with one of 0.3 s at its end."""
    with monitor("outer"):
        time.sleep(1.0)
        with monitor("inner"):
            time.sleep(0.3)


def threads(monitor) -> None:
    """1.0 s of wall time: two blocks of 0.6 s, the second 0.4 s later."""

    def block(delay_s: float) -> None:
        time.sleep(delay_s)
        with monitor("block"):
            time.sleep(0.6)

    both = [threading.Thread(target=block, args=(delay_s,)) for delay_s in (0.0, 0.4)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()


def failing(monitor) -> None:
    """0.5 s that end with an exception."""
    try:
        with monitor("block"):
            time.sleep(0.5)
            raise ValueError
    except ValueError:
        pass


def main() -> list[dict[str, object]]:
    global _counted_s
    rows = []
    for case, truth_s in ((nested, 1.3), (threads, 1.0), (failing, 0.5)):
        _counted_s = 0.0
        case(global_monitor)
        get_ledger().renew()
        case(ours)
        total = get_ledger().totals().total
        rows.append(
            {
                "case": case.__name__,
                "truth_wall_s": truth_s,
                "start_in_a_global_s": _counted_s,
                "compilespan_wall_s": total.wall_s,
                "compilespan_compile_s": total.compile_s,
                "compilespan_failed_s": total.failed_s,
            }
        )
    return rows
