"""Sees whether code that Dynamo gave up runs: then a call ran eager, without any exception."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from compilespan.ledger import get_ledger

if TYPE_CHECKING:
    from types import FrameType

    from typing_extensions import Self


class EagerWatch:
    """Watches the calls of this thread for a block.

    Over the recompile limit Dynamo says nothing any more: a shape that it has compiled runs
    compiled, any other eager. Compiled frames run code of Dynamo's own, so the original code
    object in a frame is the proof. Python calls us for each function call meanwhile, which is
    slow; it is done only where Dynamo gave something up, and in warmup only.
    """

    def __init__(self) -> None:
        self.ran_eager = False
        """Whether given-up code ran."""
        self._given_up = get_ledger().given_up()

    def __enter__(self) -> Self:
        """Begin to watch, unless nothing was given up or a profiler is at work."""
        self._watching = bool(self._given_up) and sys.getprofile() is None
        if self._watching:
            sys.setprofile(self._profile)
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        if self._watching:
            sys.setprofile(None)
        self._given_up = frozenset()

    def _profile(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code in self._given_up:
            self.ran_eager = True
