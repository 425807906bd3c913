"""Checks the targets that the operator's factory returns."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from compilespan import WarmupTarget, semconv
from compilespan_service.door.text import foreign
from compilespan_service.schemas.jobs import MAX_SHAPES
from compilespan_service.warmups.http_target import HttpTarget

MAX_TIMEOUT_S = 86_400
_MAX_INT = 2**63 - 1

Factory = Callable[[], Iterable[WarmupTarget | HttpTarget]]


class TargetsError(Exception):
    """The factory does not return targets that can be warmed; the message says what to do."""


def checked(returned: Any) -> list[WarmupTarget]:
    """Check and return the targets that a factory returned: a list, or a single one.

    Raises:
        TargetsError: The factory returned something else, or a target is not valid.
    """
    if isinstance(returned, (WarmupTarget, HttpTarget)):
        returned = [returned]
    if isinstance(returned, (str, bytes, Mapping)) or not isinstance(returned, Iterable):
        msg = f"the factory returned {_shown(returned)}; it must return a list of targets"
        raise TargetsError(msg)
    targets = [each.as_target() if isinstance(each, HttpTarget) else each for each in returned]
    for target in targets:
        if not isinstance(target, WarmupTarget):
            msg = (
                f"the factory returned a {type(target).__name__}; "
                "each element must be a WarmupTarget or an HttpTarget"
            )
            raise TargetsError(msg)
        _check(target)
    names = Counter(target.name for target in targets)
    if twice := sorted(name for name, count in names.items() if count > 1):
        msg = f"two targets are called {twice[0]!r}; names must be unique"
        raise TargetsError(msg)
    return targets


def _check(target: WarmupTarget) -> None:
    name = target.name
    if not isinstance(name, str) or semconv.name(name) != name or not name:
        msg = (
            f"a target is called {_shown(name)}; a name must be one line of valid UTF-8 text "
            f"with 1 to {semconv.MAX_NAME_LENGTH} characters"
        )
        raise TargetsError(msg)
    for problem in (*_of_functions(target), *_of_timeout(target.timeout_s), *_of_shapes(target)):
        msg = f"target {name!r}: {problem}"
        raise TargetsError(msg)


def _of_functions(target: WarmupTarget) -> Iterable[str]:
    if not callable(target.run):
        yield f"run is {_shown(target.run)}; it must be a function that takes a shape"
    if target.load is not None and not callable(target.load):
        yield f"load is {_shown(target.load)}; it must be a function without arguments"
    for name, function in (("run", target.run), ("load", target.load)):
        if _is_generator(function):
            yield (
                f"{name} is a generator function, so calling it executes nothing; "
                "return after the work is done, without yield"
            )
    if target.executor is not None and not callable(getattr(target.executor, "submit", None)):
        yield f"executor is {_shown(target.executor)}; it must be a concurrent.futures.Executor"
    if not isinstance(target.is_encoder, bool | None):
        yield f"is_encoder is {_shown(target.is_encoder)}; it must be True, False or None"


def _is_generator(function: Any) -> bool:
    return any(
        inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each)
        for each in (function, getattr(function, "__call__", None))  # noqa: B004  # of an object
    )


def _of_timeout(timeout_s: Any) -> Iterable[str]:
    is_number = isinstance(timeout_s, (int, float)) and not isinstance(timeout_s, bool)
    if timeout_s is not None and not (is_number and 0 < timeout_s <= MAX_TIMEOUT_S):
        yield f"timeout_s is {_shown(timeout_s)}; give a positive number of seconds, a day at most"


def _of_shapes(target: WarmupTarget) -> Iterable[str]:
    shapes: Any = target.shapes
    if not isinstance(shapes, (list, tuple)) or not shapes:
        yield f"shapes is {_shown(shapes)}; give a list of shapes, e.g. [{{'batch': 1}}]"
        return
    if len(shapes) > MAX_SHAPES:
        yield f"it has {len(shapes)} shapes; at most {MAX_SHAPES} are allowed"
        return
    labels = set()
    for shape in shapes:
        if not isinstance(shape, Mapping):
            yield f"the shape {_shown(shape)} is not a mapping; write e.g. {{'batch': 1}}"
            return
        for key, value in shape.items():
            if not isinstance(key, str) or semconv.name(key) != key:
                yield f"the shape {_shown(shape)} has the key {_shown(key)}; keys must be text"
                return
            if not _is_scalar(value):
                yield (
                    f"the shape {_shown(shape)} has {_shown(value)} under {key!r}; "
                    "values must be text, finite numbers of 64 bits, True, False or None"
                )
                return
        label = tuple(sorted((key, type(value).__name__, value) for key, value in shape.items()))
        if label in labels:
            yield f"two shapes are {_shown(dict(shape))}; shapes must be unique"
        labels.add(label)


def _is_scalar(value: Any) -> bool:
    if isinstance(value, str):
        return semconv.text(value) == value
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or (isinstance(value, int) and abs(value) <= _MAX_INT)


def _shown(value: Any) -> str:
    try:
        return foreign(repr(value))[:80]
    except Exception:  # the program's __repr__ may raise
        return f"a {type(value).__name__}"
