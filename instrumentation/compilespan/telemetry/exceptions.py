"""Data of exceptions, for records and events."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, NamedTuple

from compilespan import semconv
from compilespan.process.faults import contained

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

_MAX_STACKTRACE = 16_384


class Failure(NamedTuple):
    """Type and message of an exception, as a record keeps them.

    Attributes:
        type: Qualified name of its class.
        message: First line of its text; also the next one if it ends in a colon, as torch's do.
    """

    type: str
    message: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Create it from an exception."""
        message = ""
        with contained("format an exception"):  # the program's __str__ may raise
            for line in filter(None, map(str.strip, str(error).splitlines())):
                message = f"{message} {line}".strip()
                if not message.endswith(":"):
                    break
        return cls(exception_type(error), semconv.text(message))


def exception_type(error: BaseException | type[BaseException]) -> str:
    """Return the qualified name of an exception's class, without ``builtins.``."""
    cls = error if isinstance(error, type) else type(error)
    qualified = f"{cls.__module__}.{cls.__qualname__}"
    return semconv.name(qualified.removeprefix("builtins."))


def exception_attributes(error: BaseException) -> dict[str, AttributeValue]:
    """Return the attributes of an ``exception`` event."""
    attributes: dict[str, AttributeValue] = {"exception.type": exception_type(error)}
    with contained("format an exception"):  # the program's __str__ may raise
        attributes["exception.message"] = semconv.text(error)
        # Without source lines: the program would wait while they are read from the disk.
        frames = [
            f'  File "{frame.f_code.co_filename}", line {line}, in {frame.f_code.co_name}\n'
            for frame, line in traceback.walk_tb(error.__traceback__)
        ]
        last = "".join(traceback.format_exception_only(error))
        stack = f"Traceback (most recent call last):\n{''.join(frames)}{last}"
        attributes["exception.stacktrace"] = semconv.text(stack[-_MAX_STACKTRACE:], _MAX_STACKTRACE)
    return attributes
