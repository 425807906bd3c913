"""Waits for the workers, if they warm up by themselves."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from compilespan.process.faults import contained
from compilespan_service.warmups.lifecycle import ProcessState

if TYPE_CHECKING:
    from collections.abc import Callable

    from compilespan_service.warmups.lifecycle import Lifecycle

_LOOK_S = 0.25
"""Seconds between two looks at the workers."""


class Following:
    """Whether this process follows workers, and what they still wait for."""

    def __init__(self, *, follows: bool) -> None:
        """Wait for nobody until `unready` is set.

        Args:
            follows: Whether the workers warm up by themselves, be it this process or others.
        """
        self.follows = follows
        self.unready: Callable[[], str | None] = lambda: None
        """What the workers wait for; ``None`` when all of them are ready."""

    def await_ready(self, lifecycle: Lifecycle) -> None:
        """Begin to wait, in a thread, until the workers are ready or the process drains."""
        threading.Thread(
            target=self._wait, args=(lifecycle,), name="compilespan-workers", daemon=True
        ).start()

    def look(self, lifecycle: Lifecycle) -> None:
        """Look at the workers: this process is ready when they are."""
        with contained("look at the workers"):
            what = self.unready()
            if what is None:
                lifecycle.advance(ProcessState.WARM)
            else:
                lifecycle.wait_for(what)

    def _wait(self, lifecycle: Lifecycle) -> None:
        while lifecycle.state is ProcessState.LOADING:
            self.look(lifecycle)
            time.sleep(_LOOK_S)
