"""One thing that was looked at."""

from __future__ import annotations

from typing import Literal, NamedTuple

State = Literal["good", "note", "bad"]


class Check(NamedTuple):
    """What was found, and what to do about it.

    Attributes:
        name: What was looked at.
        state: ``bad`` if something will not work, ``note`` if it may cost time.
        found: What was found.
        remedy: What to do; empty if it is good.
    """

    name: str
    state: State
    found: str
    remedy: str = ""
