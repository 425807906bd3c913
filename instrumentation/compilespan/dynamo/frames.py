"""Local variables of torch's own frames, read at the time and not kept.

Before Python 3.13 a frame's ``f_locals`` is the same dictionary that ``locals()`` and debuggers
return, and reading it refreshes that dictionary. So ``f_locals`` is read only on frames of torch's
own code; on other frames only ``f_back``, ``f_code`` and ``f_lineno`` are.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import CodeType, FrameType

_MAX_FRAMES = 400


@functools.lru_cache(maxsize=8)
def _folder_of(file: object) -> str:
    return os.path.dirname(os.path.abspath(str(file))) + os.sep  # noqa: PTH100, PTH120


_OURS = (_folder_of(os.path.dirname(__file__)), _folder_of(wrapt.__file__))  # noqa: PTH120


def is_torch(code: CodeType) -> bool:
    """Whether this code belongs to the torch package."""
    torch = sys.modules.get("torch")
    return torch is not None and code.co_filename.startswith(_folder_of(torch.__file__))


def is_ours(file: str) -> bool:
    """Whether a file belongs to compilespan or to wrapt, which it wraps functions with."""
    return file.startswith(_OURS)


def caller() -> FrameType:
    """Return the frame that called the patched function: the first that is not ours."""
    frame = sys._getframe(1)  # noqa: SLF001  # documented, and cheaper than inspect
    while frame.f_back is not None and is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def builds_code() -> bool:
    """Whether inductor, which begins to run a compiler here, builds code with it.

    At each warm start it preprocesses a header, too, only to find out whether it has changed.
    """
    for frame in outwards(caller()):
        if frame.f_code.co_name == "_worker_compile_cpp":
            return True
        if frame.f_code.co_name == "_precompile_header":
            return False
    return True


def locals_of(frame: FrameType) -> Mapping[str, Any]:
    """Return the local variables of one of torch's frames; empty for any other frame.

    Each call builds them again, at a cost that grows with their number: call it once.
    """
    return frame.f_locals if is_torch(frame.f_code) else {}


def outwards(frame: FrameType) -> Iterator[FrameType]:
    """Yield the frames around ``frame``, innermost first; at most 400."""
    outer = frame.f_back
    for _ in range(_MAX_FRAMES):
        if outer is None:
            return
        yield outer
        outer = outer.f_back
