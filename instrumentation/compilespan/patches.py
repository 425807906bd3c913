"""Patching attributes of modules that are imported, or will be, and undoing it exactly."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import wrapt

_logger = logging.getLogger("compilespan")

Wrapper: TypeAlias = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
Group: TypeAlias = tuple[str, dict[str, Wrapper]]
"""A module, and wrappers by attribute path: all of them can be put in place, or none is."""


class Patches:
    """A set of wrapped attributes that is put in place and taken back as one."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._applied: list[tuple[Any, str, Any]] = []
        self._wanted: tuple[Group, ...] = ()

    @property
    def is_active(self) -> bool:
        """Whether the patches are wanted now; wrappers that somebody kept look here."""
        return bool(self._wanted)

    def apply(self, wanted: tuple[Group, ...]) -> None:
        """Wrap what these groups name, later where a module is not imported yet."""
        self._wanted = wanted
        for name in dict.fromkeys(module for module, _ in wanted):
            # A hook cannot be taken back, so it asks again what is wanted.
            wrapt.register_post_import_hook(self._imported, name)

    def restore(self) -> None:
        """Put every original back: the same objects as before."""
        with self._lock:
            self._wanted = ()
            while self._applied:
                parent, attribute, original = self._applied.pop()
                setattr(parent, attribute, original)

    def _imported(self, module: Any) -> None:
        with self._lock:
            for name, wrappers in self._wanted:
                if name == module.__name__:
                    self._wrap(module, wrappers)

    def _wrap(self, module: Any, wrappers: dict[str, Wrapper]) -> None:
        path = ""
        try:
            found = []
            for path, wrapper in wrappers.items():
                found.append((wrapt.resolve_path(module, path), wrapper))
            for (parent, attribute, original), wrapper in found:
                self._replace(parent, attribute, original, wrapper)
        except Exception as error:
            _logger.debug(
                "compilespan: %s.%s cannot be instrumented in this version (%r)",
                module.__name__,
                path,
                error,
            )

    def _replace(self, parent: Any, attribute: str, original: Any, wrapper: Wrapper) -> None:
        if any(each is parent and name == attribute for each, name, _ in self._applied):
            return
        if isinstance(original, wrapt.FunctionWrapper) and original._self_wrapper == wrapper:  # noqa: SLF001
            # Imported by name from a module whose own attribute was wrapped before.
            original = original.__wrapped__
        else:
            wrapt.apply_patch(parent, attribute, wrapt.FunctionWrapper(original, wrapper))
        self._applied.append((parent, attribute, original))
