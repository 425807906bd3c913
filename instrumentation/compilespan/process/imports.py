"""How long imports take: those that no other import of their thread waits for.

It needs nothing but the interpreter: ``compilespan run`` loads it before all else in a program.
"""

from __future__ import annotations

import _thread
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

MAX_KEPT = 512
_LEAST_NS = 1_000_000


class ImportTimer:
    """An import finder that finds nothing by itself: it times what the others find.

    Python asks it first. The module sees its own loader, as it would without us.
    """

    def __init__(self) -> None:
        self.began_ns = time.perf_counter_ns()
        """When somebody first looked, as ``time.perf_counter_ns()``."""
        self.kept: list[tuple[str, int, int, int]] = []
        """Package, begin, end (``time.perf_counter_ns()``) and thread of each, oldest first."""
        self.note: Callable[[str, int, int, int], object] | None = None
        """Called with each from now on, instead."""
        self._here = _thread._local()  # noqa: SLF001  # that of threading, without its import

    def begin(self) -> None:
        """Time imports from now on."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)  # type: ignore[arg-type]  # a finder in all that counts

    def end(self) -> None:
        """Time no more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)  # type: ignore[arg-type]

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return what the other finders find, with a loader that is timed."""
        if getattr(self._here, "is_importing", False):
            return None
        began_ns = time.perf_counter_ns()
        self._here.is_importing = True
        try:
            spec = self._found(name, path, target)
        finally:
            self._here.is_importing = False
        loader = getattr(spec, "loader", None)
        # What is built in or frozen takes no time, and has a class for a loader.
        if spec is None or isinstance(loader, type) or not hasattr(loader, "create_module"):
            return spec
        spec.loader = _Timed(self, loader, name.partition(".")[0], began_ns)  # type: ignore[assignment]
        return spec

    def _found(self, name: str, path: Any, target: Any) -> ModuleSpec | None:
        for finder in list(sys.meta_path):
            find_spec = getattr(finder, "find_spec", None)
            if finder is not self and find_spec is not None:
                spec: ModuleSpec | None = find_spec(name, path, target)
                if spec is not None:
                    return spec
        return None

    def timed(self, package: str, began_ns: int, execute: Callable[[], object]) -> None:
        """Execute a module; what it imports is part of it."""
        self._here.is_importing = True
        try:
            execute()
        finally:
            self._here.is_importing = False
            ended_ns = time.perf_counter_ns()
            if ended_ns - began_ns >= _LEAST_NS:
                self._keep(package, began_ns, ended_ns, _thread.get_ident())

    def _keep(self, package: str, began_ns: int, ended_ns: int, thread: int) -> None:
        if self.note is not None:
            self.note(package, began_ns, ended_ns, thread)
        elif len(self.kept) < MAX_KEPT:
            self.kept.append((package, began_ns, ended_ns, thread))


class _Timed:
    """A loader that times another, and is gone before the module is executed.

    Whoever only asks for a module's spec may look at it: it has the other's class.
    """

    __slots__ = ("_began_ns", "_loader", "_package", "_timer")

    def __init__(self, timer: ImportTimer, loader: Any, package: str, began_ns: int) -> None:
        self._timer = timer
        self._loader = loader
        self._package = package
        self._began_ns = began_ns

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._loader)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        spec.loader = self._loader
        try:
            created: ModuleType | None = self._loader.create_module(spec)
        finally:
            spec.loader = self  # type: ignore[assignment]
        return created

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        loader = self._loader
        self._timer.timed(self._package, self._began_ns, lambda: loader.exec_module(module))


def import_timer() -> ImportTimer:
    """Return the one that times the imports of this process, else one that does not yet."""
    for finder in sys.meta_path:
        # One that a program was started with is of another class with the same name.
        if type(finder).__name__ == ImportTimer.__name__:
            return finder  # type: ignore[return-value]
    return ImportTimer()
