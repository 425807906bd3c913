"""Texts of errors as they travel: no absolute path of the server in them (SPEC §5)."""

from __future__ import annotations

import re

# Not the path of a URL, nor a fraction, nor a guard's 0/0.
_PATH = re.compile(r"(?<![\w:/.…])/(?:[^\s/'\":,;()\[\]]+/)*([^\s/'\":,;()\[\]]+)")


def without_paths(text: str) -> str:
    """Return ``text`` with the last part of each absolute path in place of the path.

    >>> without_paths("No such file: '/srv/models/llama/config.json'")
    "No such file: '…/config.json'"
    >>> without_paths("POST http://127.0.0.1:8000/v1 answered 500, 0/0: size")
    'POST http://127.0.0.1:8000/v1 answered 500, 0/0: size'
    """
    return _PATH.sub(r"…/\1", text)
