"""``MODULE:FACTORY``, and the errors that say what is wrong with it or with what it names."""

from __future__ import annotations

import importlib
import os
import traceback
from pathlib import Path

DEMO = "compilespan_service.demo:targets"

# Not the operator's: what calls his code.
_OURS = (str(Path(__file__).parents[1]) + os.sep, "<frozen importlib", importlib.__file__)


_MAX_CAUSES = 100
_MAX_TRACEBACK = 16_384


class LoadError(Exception):
    """The models cannot be loaded; the message is one sentence.

    Attributes:
        traceback: Of the operator's code, without our frames; empty if it says nothing more.
    """

    def __init__(self, message: str, cause: BaseException | None = None) -> None:
        super().__init__(message)
        self.traceback = _of_the_operator(cause) if cause is not None else ""


class SpecError(LoadError):
    """``MODULE:FACTORY`` cannot be resolved: a typo, hence no reason to try again."""


def check_spec(spec: str) -> tuple[str, str]:
    """Return the module and the name of ``MODULE:FACTORY``; imports nothing.

    Raises:
        SpecError: It is not of that form.
    """
    module_name, _, name = spec.partition(":")
    is_path = all(part.isidentifier() for part in (*module_name.split("."), *name.split(".")))
    if not is_path:
        msg = f"{spec!r} names no factory; write MODULE:FACTORY, e.g. myserver.models:targets"
        raise SpecError(msg)
    return module_name, name


def _of_the_operator(error: BaseException) -> str:
    """Return an exception as Python prints it, without the frames of ours and of the import.

    Empty if it has no others, or if it cannot be printed: its class is the program's.
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
