"""Keeps an event loop answering while another thread compiles."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SWITCH_INTERVAL_S = 0.0005


@contextmanager
def responsive() -> Iterator[None]:
    """Let threads take turns often: Dynamo holds the GIL for whole intervals.

    The interval is the process's; it is put back afterwards, so serving keeps its own.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _SWITCH_INTERVAL_S))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
