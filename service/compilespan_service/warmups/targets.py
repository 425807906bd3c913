"""The targets: what the operator's factory returns, checked, with errors that help."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from compilespan import WarmupTarget
from compilespan_service.warmups.http_target import HttpTarget

DEMO = "compilespan_service.demo:targets"

Factory = Callable[[], Iterable[WarmupTarget | HttpTarget]]


class TargetsError(Exception):
    """The factory cannot be had, or does not return targets; the message says what to do."""


def find_factory(spec: str) -> Factory:
    """Import ``MODULE:FACTORY``; the current directory counts, as it does for uvicorn.

    Raises:
        TargetsError: There is no such module, or no such function in it.
    """
    module_name, _, name = spec.partition(":")
    if not module_name or not name:
        msg = f"{spec!r} names no factory; write MODULE:FACTORY, e.g. myserver.models:targets"
        raise TargetsError(msg)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        msg = (
            f"module {error.name!r} cannot be imported for {spec!r}; "
            "start the service where the module lies, or install it"
        )
        raise TargetsError(msg) from error
    factory = getattr(module, name, None)
    if not callable(factory):
        msg = f"module {module_name!r} has no function {name!r}; {spec!r} must name one"
        raise TargetsError(msg)
    return factory  # type: ignore[no-any-return]  # its result is checked


def make_targets(factory: Factory) -> list[WarmupTarget]:
    """Call the factory and check what it returns.

    Raises:
        TargetsError: It returns no targets, or two of one name or shape.
    """
    returned: Any = factory()
    if isinstance(returned, HttpTarget):
        returned = returned.as_target()
    if returned is None or isinstance(returned, (str, bytes)):
        msg = f"the factory returned {returned!r}; it must return a list of targets"
        raise TargetsError(msg)
    targets = [
        each.as_target() if isinstance(each, HttpTarget) else each
        for each in ([returned] if isinstance(returned, WarmupTarget) else returned)
    ]
    for target in targets:
        if not isinstance(target, WarmupTarget):
            msg = (
                f"the factory returned a {type(target).__name__}; "
                "each element must be a WarmupTarget or an HttpTarget"
            )
            raise TargetsError(msg)
    names = [target.name for target in targets]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        msg = f"two targets are called {twice[0]!r}; names must be unique"
        raise TargetsError(msg)
    return targets


def elsewhere(target: WarmupTarget) -> HttpTarget | None:
    """Return the server in another process that the target warms, if it does."""
    found = getattr(target.run, "__self__", None)
    return found if isinstance(found, HttpTarget) else None
