"""``MODULE:FACTORY``, and the errors about it and about what it names."""

from __future__ import annotations

import importlib
import os
import traceback
from pathlib import Path

DEMO = "compilespan_service.demo:targets"

# Frames that call the operator's code: ours and the import system's.
_OURS = (str(Path(__file__).parents[1]) + os.sep, "<frozen importlib", importlib.__file__)


_MAX_CAUSES = 100
_MAX_TRACEBACK = 16_384


class LoadError(Exception):
    """The models cannot be loaded; the message is one sentence.

    Attributes:
        traceback: Traceback without our frames; empty if no frame is the operator's.
    """

    def __init__(self, message: str, cause: BaseException | None = None) -> None:
        super().__init__(message)
        self.traceback = _of_the_operator(cause) if cause is not None else ""


class SpecError(LoadError):
    """``MODULE:FACTORY`` cannot be resolved: a typo, so a retry cannot help."""


def check_spec(spec: str) -> tuple[str, str]:
    """Return the module and the name of ``MODULE:FACTORY``; imports nothing.

    Raises:
        SpecError: ``spec`` does not have that form.
    """
    module_name, _, name = spec.partition(":")
    is_path = all(part.isidentifier() for part in (*module_name.split("."), *name.split(".")))
    if not is_path:
        msg = f"{spec!r} names no factory; write MODULE:FACTORY, e.g. myserver.models:targets"
        raise SpecError(msg)
    return module_name, name


def _of_the_operator(error: BaseException) -> str:
    """Return an exception as Python prints it, without our frames and the import system's.

    Empty if it has no other frames, or if the program's exception class fails to print it.
    """
    try:
        whole = traceback.TracebackException.from_exception(error)
        part: traceback.TracebackException | None = whole
        for _ in range(_MAX_CAUSES):
            if part is None:
                break
            part.stack[:] = [each for each in part.stack if not each.filename.startswith(_OURS)]
            cause = part.__cause__ or part.__context__
            if cause is not None and cause.__cause__ is part:
                break
            part = cause
        return "".join(whole.format())[-_MAX_TRACEBACK:] if whole.stack else ""
    except BaseException:
        return ""
