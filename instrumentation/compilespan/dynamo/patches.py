"""Patches private names, now or when their module is imported, and restores the originals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import wrapt

from compilespan.process import fork_safe_lock

if TYPE_CHECKING:
    from compilespan.dynamo.private import Private

Wrapper: TypeAlias = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
Group: TypeAlias = "Mapping[Private, Wrapper]"
"""Wrappers by private name, all of one module; applied completely or not at all."""


class Patches:
    """A set of wrapped attributes that are applied and restored together."""

    def __init__(self) -> None:
        self._lock = fork_safe_lock()
        self._applied: list[tuple[Any, str, Any]] = []
        self._wanted: tuple[Group, ...] = ()

    @property
    def is_active(self) -> bool:
        """Whether the patches are wanted now; wrappers may still be called after `restore`."""
        return bool(self._wanted)

    def apply(self, *wanted: Group) -> None:
        """Wrap the names of these groups, or wait until their module is imported."""
        self._wanted = wanted
        for name in dict.fromkeys(private.module for group in wanted for private in group):
            # An import hook cannot be removed, so it reads what is wanted when it runs.
            wrapt.register_post_import_hook(self._imported, name)

    def restore(self) -> None:
        """Restore every original: the same objects as before."""
        with self._lock:
            self._wanted = ()
            while self._applied:
                parent, attribute, original = self._applied.pop()
                setattr(parent, attribute, original)

    def _imported(self, module: Any) -> None:
        with self._lock:
            for group in self._wanted:
                if any(private.module == module.__name__ for private in group):
                    self._wrap(module, group)

    def _wrap(self, module: Any, group: Group) -> None:
        found = []
        for private, wrapper in group.items():
            try:
                found.append((wrapt.resolve_path(module, private.path), wrapper))
            except Exception as error:
                private.note_missing(repr(error))
                return
        for (parent, attribute, original), wrapper in found:
            self._replace(parent, attribute, original, wrapper)

    def _replace(self, parent: Any, attribute: str, original: Any, wrapper: Wrapper) -> None:
        if any(each is parent and name == attribute for each, name, _ in self._applied):
            return
        if isinstance(original, wrapt.FunctionWrapper) and original._self_wrapper == wrapper:  # noqa: SLF001
            # It was imported by name from a module whose attribute was already wrapped.
            original = original.__wrapped__
        else:
            wrapt.apply_patch(parent, attribute, wrapt.FunctionWrapper(original, wrapper))
        self._applied.append((parent, attribute, original))
