"""A leader's signs of life."""

from __future__ import annotations

import logging
import os
import platform
import threading
from typing import TYPE_CHECKING

from compilespan.cache.bounded import within_s
from compilespan.cache.lease import Beat

if TYPE_CHECKING:
    from collections.abc import Callable

    from compilespan.cache.lease import Epochs, State

PERIOD_S = 5.0
"""Seconds between two beats."""
_STORE_S = 10.0
_END_S = 2.0

_logger = logging.getLogger("compilespan")


def own_name() -> str:
    """Return the name under which people find this process."""
    return f"{platform.node()}:{os.getpid()}"


class Leading:
    """Beats in a thread until what this process builds is in the store."""

    def __init__(self, lease: Epochs, epoch: int, goes_on: Callable[[], bool]) -> None:
        """Begin to beat for an epoch that this process began, while it goes on."""
        self._lease = lease
        self._epoch = epoch
        self._goes_on = goes_on
        self._count = 0
        self._is_over = threading.Event()
        self._beat("building", _END_S)  # at once, so that who waits knows for whom
        self._thread = threading.Thread(
            target=self._beat_on, name="compilespan-cache-lease", daemon=True
        )
        self._thread.start()

    def end(self, state: State) -> None:
        """Tell who waits that they need not any longer."""
        self._is_over.set()
        self._thread.join(_END_S)
        self._beat(state, _END_S)

    def _beat_on(self) -> None:
        while not self._is_over.wait(PERIOD_S) and self._goes_on():
            self._beat("building")

    def _beat(self, state: State, timeout_s: float = _STORE_S) -> None:
        self._count += 1
        beat = Beat(own_name(), self._count, state)
        try:
            within_s(timeout_s, lambda: self._lease.show(self._epoch, beat))
        except Exception as error:  # who waits will find that it is lost
            _logger.warning("compilespan: who waits for this process cannot see it: %s", error)
