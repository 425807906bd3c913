"""What is emitted of an exception."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, NamedTuple

from compilespan import semconv
from compilespan.faults import contained

if TYPE_CHECKING:
    from opentelemetry.util.types import AttributeValue

_MAX_STACKTRACE = 16_384


class Failure(NamedTuple):
    """What a record keeps of an exception.

    Attributes:
        type: Qualified name of its class.
        message: First line of its text; with the next one if it ends in a colon, as torch's do.
    """

    type: str
    message: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Take an exception."""
        message = ""
        with contained("word an exception"):  # its __str__ is the program's
            for line in filter(None, map(str.strip, str(error).splitlines())):
                message = f"{message} {line}".strip()
                if not message.endswith(":"):
                    break
        return cls(exception_type(error), semconv.text(message))


def exception_type(error: BaseException | type[BaseException]) -> str:
    """Return the qualified name of an exception's class, builtins without their module."""
    cls = error if isinstance(error, type) else type(error)
    qualified = f"{cls.__module__}.{cls.__qualname__}"
    return semconv.name(qualified.removeprefix("builtins."))


def exception_attributes(error: BaseException) -> dict[str, AttributeValue]:
    """Return the attributes of an ``exception`` event."""
    attributes: dict[str, AttributeValue] = {"exception.type": exception_type(error)}
    with contained("word an exception"):  # its __str__ is the program's
        attributes["exception.message"] = semconv.text(error)
        # Without source lines, which would be read from the disk while the program waits.
        frames = [
            f'  File "{frame.f_code.co_filename}", line {line}, in {frame.f_code.co_name}\n'
            for frame, line in traceback.walk_tb(error.__traceback__)
        ]
        last = "".join(traceback.format_exception_only(error))
        stack = f"Traceback (most recent call last):\n{''.join(frames)}{last}"
        attributes["exception.stacktrace"] = semconv.text(stack[-_MAX_STACKTRACE:], _MAX_STACKTRACE)
    return attributes
