"""The processes that hold the models, if this one does not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from compilespan_service.warmups.lifecycle import ProcessState

if TYPE_CHECKING:
    from collections.abc import Callable

    from compilespan_service.warmups.lifecycle import Lifecycle

_LOOK_S = 0.25
"""Seconds between two looks at the workers."""


class Workers:
    """Whether this process follows workers, and what they still wait for."""

    def __init__(self, *, follows: bool) -> None:
        """Wait for nobody until `unready` is set.

        Args:
            follows: Whether other processes hold the models.
        """
        self.follows = follows
        self.unready: Callable[[], str | None] = lambda: None
        """What the workers wait for; ``None`` when all of them are ready."""

    def wait(self, lifecycle: Lifecycle) -> None:
        """Return when the workers are ready, or when the process drains."""
        while (what := self.unready()) is not None:
            lifecycle.wait_for(what)
            if lifecycle.state is ProcessState.DRAINING:
                return
            time.sleep(_LOOK_S)
        lifecycle.advance(ProcessState.WARM)
