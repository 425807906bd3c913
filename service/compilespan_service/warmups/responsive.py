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
    """Make threads switch more often, because Dynamo holds the GIL for whole intervals.

    The interval applies to the whole process, so it is restored afterwards for serving.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _SWITCH_INTERVAL_S))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
