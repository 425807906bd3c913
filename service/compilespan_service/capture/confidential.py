"""Remove secrets from a capture; with ``--no-paths`` also all that names a machine or user.

Paths and addresses keep only their last part, and only if it is a file name; pages of torch's
documentation and repository stay whole. To be safe, every word with a slash counts as a path,
unless it is a number.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from compilespan_service.capture import document

if TYPE_CHECKING:
    from collections.abc import Iterable

    from compilespan_service.capture.capture import Capture

_NOBODY = "…"
_QUOTED = re.compile(r"""(?P<quote>['"`])(?P<text>[^'"`\n]*[/\\][^'"`\n]*)(?P=quote)""")
_WORD = re.compile(r"\S*[/\\]\S*")
_ROUTE = re.compile(r"\b(GET|PUT|POST|PATCH|DELETE|HEAD|OPTIONS) (/\S*)")
_PUBLIC = re.compile(r"https://(docs\.)?pytorch\.org/\S*|https://github\.com/pytorch/\S*")
_NUMBERS = re.compile(r"\W*\d+/\d+\W*|[/\\]")
_FILE = re.compile(r"[\w .+-]*\w\.[A-Za-z]\w{0,15}(?=$|\W)")
_OPTION = re.compile(r"^[\w-]+=")
_USER = re.compile(r"ran as user [^,]+")
_PATHS = {"file", "inner_file", "path", "code.file.path"}
_KEPT = {"request", "link"}
"""Fields that hold a route or a page of documentation; they stay as they are."""


_SECRET = re.compile(
    r"(?P<option>(?:--?|\b)[\w-]*(?:key|token|secret|password|passwd|credential)[\w-]*)"
    r"(?P<value>=.+)?",
    re.IGNORECASE | re.DOTALL,
)


def without_secrets(command: Iterable[str]) -> Iterable[str]:
    """Yield the arguments of a command line with values that look like secrets masked."""
    is_value = False
    for argument in command:
        found = _SECRET.fullmatch(argument)
        if is_value:
            yield "***"
            is_value = False
        elif found is not None and found["value"]:
            yield f"{found['option']}=***"
        else:
            is_value = found is not None and argument.startswith("-")
            yield argument


def without_paths(capture: Capture) -> Capture:
    """Return a capture without directories, arguments, addresses, users and the host name."""
    values = document.to_json(capture)
    values["command"] = [_last(each) for each in values["command"][:1]]
    if capture.command[1:]:
        values["command"].append(_NOBODY)
    values["host"] = {**values["host"], "name": _NOBODY}
    values["dumps"] = []
    return document.from_json(_cleaned(values))


def _cleaned(value: Any, key: str = "") -> Any:
    if isinstance(value, str):
        if key in _KEPT or key == "schema":
            return value
        return _last(value) if key in _PATHS else _text(value)
    if isinstance(value, dict):
        return {_text(name): _cleaned(each, name) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(each, key) for each in value]
    return value


def _text(text: str) -> str:
    routes: list[str] = []

    def hide(found: re.Match[str]) -> str:
        routes.append(found[0])
        return f"\0{len(routes) - 1}\0"

    text = _PUBLIC.sub(hide, _ROUTE.sub(hide, text))
    text = _QUOTED.sub(_quoted, text)
    text = _WORD.sub(lambda found: _word(found[0]), text)
    text = _USER.sub("ran as another user", text)
    return re.sub("\0(\\d+)\0", lambda found: routes[int(found[1])], text)


def _quoted(found: re.Match[str]) -> str:
    return f"{found['quote']}{_last(found['text'])}{found['quote']}"


def _word(word: str) -> str:
    if _NUMBERS.fullmatch(word):
        return word
    option = _OPTION.match(word)
    return (option[0] if option else "") + _last(word)


def _last(path: str) -> str:
    """Return the file name and what follows it, e.g. a line number; for a directory ``…``."""
    last = re.split(r"[/\\]", path)[-1]
    return last if _FILE.match(last) or last == path else _NOBODY
