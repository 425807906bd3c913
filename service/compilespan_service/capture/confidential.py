"""A capture without what names the user's machine, files and arguments (``--no-paths``)."""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from compilespan_service.capture import document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compilespan_service.capture.capture import Capture

_PATH = re.compile(
    r"""(?<![\w:/.~\\-])                      # where a word begins, and no URL
    (?<!GET\ )(?<!PUT\ )(?<!POST\ )(?<!PATCH\ )(?<!DELETE\ )(?<!HEAD\ )(?<!OPTIONS\ )
    (?:[A-Za-z]:|~|\.{1,2})?                # a drive, a home, here
    (?:[/\\][^\s/\\'"`,;:<>()\[\]{}|=]+)+[/\\]?
    """,
    re.VERBOSE,
)
_RELATIVE = re.compile(
    r"(?<![\w:/.~\\-])(?:[\w.-]+/)+(?=[\w.-]+\.(?:py|pyx|so|pt|json|yaml|toml)\b)"
)
_FILES = {"file", "inner_file", "path", "code.file.path"}
_NOBODY = "…"


def without_paths(capture: Capture) -> Capture:
    """Return it with the last part of each path alone, without arguments and the host's name."""
    values = document.to_json(capture)
    values["command"] = [_last(each) for each in values["command"][:1]]
    if capture.command[1:]:
        values["command"].append(_NOBODY)
    values["host"] = {**values["host"], "name": _NOBODY}
    values["dumps"] = []
    return document.from_json(_cleaned(values))


def _cleaned(value: Any, key: str = "") -> Any:
    if isinstance(value, str):
        return _last(value) if key in _FILES else _text(value)
    if isinstance(value, dict):
        return _mapping(value)
    if isinstance(value, list | tuple):
        return [_cleaned(each, key) for each in value]
    return value


def _mapping(values: Mapping[str, Any]) -> dict[str, Any]:
    return {_text(key): _cleaned(value, key) for key, value in values.items()}


def _text(text: str) -> str:
    return _RELATIVE.sub("", _PATH.sub(lambda found: _last(found[0]), text))


def _last(path: str) -> str:
    flavour = PureWindowsPath if "\\" in path else PurePosixPath
    return flavour(path).name or path
