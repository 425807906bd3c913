"""Text from other programs, made safe to send: valid, short, without paths of the server."""

from __future__ import annotations

import re
from contextlib import suppress

from compilespan import semconv

# Matches an absolute path: up to the closing quote if quoted, else up to the end of a word; a drive
# letter may come first. Blanks and commas belong to the path if another part follows. Does not
# match the path of a URL, a fraction, a guard's 0/0 or a closing tag.
_PART = r"""[^\s/\\'",:;<>()\[\]]+"""
_FOLDER = r"""[^\s/\\'":;<>()\[\]]+(?:[ ][^\s/\\'":;<>()\[\]]+)*[/\\]+"""
_PATH = re.compile(
    rf"""
    (?P<quote>['"])(?:/|[A-Za-z]:\\)(?:[^'"\n]*[/\\])?(?P<quoted>[^'"/\\\n]+)(?P=quote)
    | (?: (?<![\w/.…<])(?:file://|[A-Za-z]:(?=\\))?[/\\]+ # a separate word, a drive
        | (?<=[a-z]:)///+                                 # a URL without a host
        | (?<=-[A-Za-z])/                                 # an option of one letter
        | (?<=<)/+(?={_FOLDER})
      )
      (?<!://)(?:{_FOLDER})*(?P<plain>{_PART})
    """,
    re.VERBOSE,
)


def without_paths(text: str) -> str:
    """Return ``text`` with each absolute path shortened to its last part.

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
    """Return text from another program, e.g. an exception's, in a form that is safe to send.

    Apply it once, when the text is received, and not to our own messages.
    """
    return semconv.text(without_paths(semconv.text(text)))


def described(error: BaseException) -> str:
    """Return the type and the text of an exception, in a form that is safe to send.

    The program defines both, so reading them may raise anything; that is suppressed.
    """
    kind, text = "error", "no description available"
    with suppress(BaseException):
        kind = semconv.name(type(error).__name__)
        text = semconv.text(error)
    return foreign(f"{kind}: {text}")
