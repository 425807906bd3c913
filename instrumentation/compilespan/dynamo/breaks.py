"""Why and where Dynamo breaks a graph or skips a frame, from its exceptions and reasons.

Their text has a fixed form: a first line, ``Explanation:``, any number of ``Hint:``, a developer
context, and a link. Reason, hint and link become separate attributes, so that truncating one
does not lose another.
"""

from __future__ import annotations

import re
import sysconfig
from typing import TYPE_CHECKING, Any

from compilespan import semconv
from compilespan.dynamo import frames
from compilespan.dynamo.private import UNSUPPORTED, USER_ERROR

if TYPE_CHECKING:
    from collections.abc import Iterable

NO_GRAPH = "no operations of torch were traced"

Attributes = dict[str, "str | int"]

_AND = "\n\n*** While handling this graph break, another graph break occurred: ***\n\n"
_EXPLANATION = re.compile(r"^  Explanation: (.*(?:\n {4}.*)*)", re.MULTILINE)
_HINT = re.compile(r"^  Hint: (.*(?:\n {4}.*)*)", re.MULTILINE)
_LINK = re.compile(r"please visit: (https://\S+)")
_LIBRARIES = tuple(
    {f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)


def is_over_the_limit(error: BaseException) -> bool:
    """Whether Dynamo stopped compiling the frame because of a recompile limit."""
    return type(error).__name__ in ("FailOnRecompileLimitHit", "RecompileLimitExceeded") or (
        "recompile limit" in str(getattr(error, "gb_type", ""))
    )


def refused_recompile(error: BaseException) -> str:
    """Return the failed guards if ``error_on_recompile`` refused a recompile, else ``""``."""
    if type(error).__name__ != "RecompileError":
        return ""
    _, _, guards = str(error).partition("guard failure(s):\n")
    return "\n".join(line.strip().removeprefix("- ") for line in guards.splitlines())


def gives_back(error: BaseException, *, one_graph: bool) -> bool:
    """Whether Dynamo falls back to eager after this exception (torch/_dynamo/convert_frame.py)."""
    soft = tuple(
        found for name in (UNSUPPORTED, USER_ERROR) if isinstance(found := name.found(), type)
    )
    if one_graph or not isinstance(error, soft):
        return False
    box = frames.locals_of(frames.caller()).get("convert_frame_box")
    return not getattr(box, "error_on_graph_break", None)


def attributes_of_error(error: BaseException) -> Attributes:
    """Return the attributes of the graph break that an exception of Dynamo describes."""
    text = getattr(error, "msg", None)
    return _attributes(text if isinstance(text, str) else str(error), _stack_of(error))


def attributes_of_reason(reason: Any) -> Attributes:
    """Return the attributes of a graph break from Dynamo's ``GraphCompileReason``."""
    return _attributes(str(reason.reason), getattr(reason, "user_stack", None) or ())


def skip_reason_of(made: Any) -> str:
    """Return why a frame was skipped without an exception, from Dynamo's ``guarded_code``."""
    found = getattr(made, "skip_reason", None)
    return semconv.text(found.split("\n")[0]) if isinstance(found, str) and found else NO_GRAPH


def _stack_of(error: BaseException) -> Iterable[Any]:
    return getattr(error, "real_stack", None) or ()


def _attributes(text: str, stack: Iterable[Any]) -> Attributes:
    text = text.split(_AND, 1)[0]  # the first is the root cause
    places = [(str(each.filename), int(each.lineno or 0)) for each in stack]
    file, line = _users(places)
    attributes: Attributes = {
        semconv.GRAPH_BREAK_REASON: semconv.text(_reason(text)),
        semconv.CODE_FILE_PATH: semconv.text(file),
        semconv.CODE_LINE_NUMBER: line,
    }
    if hints := _HINT.findall(text):
        attributes[semconv.GRAPH_BREAK_HINT] = semconv.text(" ".join(" ".join(hints).split()))
    if link := _LINK.search(text):
        attributes[semconv.GRAPH_BREAK_LINK] = semconv.text(link[1])
    if places and places[-1] != (file, line):
        attributes[semconv.GRAPH_BREAK_INNER_FILE] = semconv.text(places[-1][0])
        attributes[semconv.GRAPH_BREAK_INNER_LINE] = places[-1][1]
    return attributes


def _reason(text: str) -> str:
    first = text.split("\n", 1)[0].strip()
    explanation = _EXPLANATION.search(text)
    return f"{first}: {' '.join(explanation[1].split())}" if explanation else first


def _users(places: list[tuple[str, int]]) -> tuple[str, int]:
    """Return the innermost line of the user's code in these places, else on the stack."""
    for file, line in reversed(places):
        if _is_users(file):
            return file, line
    for frame in frames.outwards(frames.caller()):
        if _is_users(frame.f_code.co_filename):
            return frame.f_code.co_filename, frame.f_lineno
    return places[-1] if places else ("", 0)


def _is_users(file: str) -> bool:
    """Whether a file is outside torch, the standard library and site-packages."""
    return not (
        file.startswith((*_LIBRARIES, "<frozen "))
        or "/site-packages/" in file
        or "/dist-packages/" in file
        or frames.is_ours(file)
    )
