"""Foreign texts as they travel: valid, of bounded length, without paths of the server (SPEC §5)."""

from __future__ import annotations

import re
from contextlib import suppress

from compilespan import semconv

# An absolute path: in quotes up to their end, with a drive letter, or up to what ends a word.
# Blanks and commas belong to it if another part follows. Not the path of a URL, nor a fraction, nor
# a guard's 0/0, nor the end of an element.
_PART = r"""[^\s/\\'",:;<>()\[\]]+"""
_FOLDER = r"""[^\s/\\'":;<>()\[\]]+(?:[ ][^\s/\\'":;<>()\[\]]+)*[/\\]+"""
_PATH = re.compile(
    rf"""
    (?P<quote>['"])(?:/|[A-Za-z]:\\)(?:[^'"\n]*[/\\])?(?P<quoted>[^'"/\\\n]+)(?P=quote)
    | (?: (?<![\w/.…<])(?:file://|[A-Za-z]:(?=\\))?[/\\]+ # a word of its own, a drive
        | (?<=[a-z]:)///+                                 # what a URL without a host has
        | (?<=-[A-Za-z])/                                 # what an option of one letter has
        | (?<=<)/+(?={_FOLDER})
      )
      (?<!://)(?:{_FOLDER})*(?P<plain>{_PART})
    """,
    re.VERBOSE,
)


def without_paths(text: str) -> str:
    """Return ``text`` with the last part of each absolute path in place of the path.

    >>> without_paths("No such file: '/srv/models/llama/config.json'")
    "No such file: '…/config.json'"
    >>> without_paths("POST http://127.0.0.1:8000/v1 answered 500, 0/0: size")
    'POST http://127.0.0.1:8000/v1 answered 500, 0/0: size'
    """

    def last_part(found: re.Match[str]) -> str:
        quote = found["quote"] or ""
        return f"{quote}…/{found['quoted'] or found['plain']}{quote}"

    return _PATH.sub(last_part, text)


def foreign(text: object) -> str:
    """Return a text that we did not write, e.g. an exception's, as it may be kept and sent.

    Apply it once, where the text enters: our own sentences are not for it.
    """
    return semconv.text(without_paths(semconv.text(text)))


def described(error: BaseException) -> str:
    """Return the type and the text of an exception, as it may be kept and sent.

    Both are the program's: asking for them may raise anything, which goes no further.
    """
    kind, text = "error", "it cannot be described"
    with suppress(BaseException):
        kind = semconv.name(type(error).__name__)
        text = semconv.text(error)
    return foreign(f"{kind}: {text}")
