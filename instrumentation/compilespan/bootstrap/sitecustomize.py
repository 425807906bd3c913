"""Instruments a Python program that ``compilespan run`` started, when it imports torch.

Its directory stands first in ``PYTHONPATH``, so that children find it too. A process that never
imports torch pays for this file alone. The environment's own ``sitecustomize`` runs as before.
"""

from __future__ import annotations

import _thread
import os
import sys
from importlib.machinery import SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _run_the_next() -> None:
    """Import the ``sitecustomize`` that would have been found without us."""
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120  # no pathlib here
    kept = list(sys.path)
    sys.path[:] = [path for path in kept if os.path.abspath(path or ".") != here]  # noqa: PTH100
    ours = sys.modules.pop("sitecustomize", None)
    try:
        __import__("sitecustomize")
    except ImportError:
        if ours is not None:
            sys.modules["sitecustomize"] = ours
    finally:
        sys.path[:] = kept


class _WhenTorchComes:
    """An import finder that finds nothing by itself: it waits for torch, and then leaves."""

    def __init__(self, timer: Any) -> None:
        self._timer = timer

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:  # noqa: ARG002
        if name != "torch" or self not in sys.meta_path or not _is_imported(name):
            return None
        sys.meta_path.remove(self)
        _instrument()
        # Who asks goes on behind the place that we left: it would pass the timer over.
        return self._timer.find_spec(name) if self._timer is not None else None


def _is_imported(name: str) -> bool:
    """Whether this thread imports it, and does not only ask whether it is there."""
    try:
        lock = sys.modules["_frozen_importlib"]._module_locks[name]()  # noqa: SLF001
        return bool(lock is not None and lock.owner == _thread.get_ident())
    except KeyError:
        return False
    except Exception:  # another interpreter
        return True


def _timed_imports() -> Any:
    """Time what is imported from now on; compilespan itself is imported only if torch is."""
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120  # no pathlib here
    path = os.path.join(os.path.dirname(here), "process", "imports.py")  # noqa: PTH118, PTH120
    try:
        module = type(sys)("compilespan_imports")
        SourceFileLoader(module.__name__, path).exec_module(module)
        timer = module.ImportTimer()
        timer.begin()
    except Exception:  # the program is not to blame
        return None
    else:
        return timer


def _instrument() -> None:
    state = os.environ.get("COMPILESPAN_STATE_DIR", "")
    try:
        from compilespan import TorchCompileInstrumentor, get_ledger  # noqa: PLC0415
        from compilespan.journal.writer import open_journal  # noqa: PLC0415

        get_ledger().readiness.time_imports()
        open_journal()  # what it does is a part of the start, also if it compiles nothing
        instrumentor = TorchCompileInstrumentor()
        if not instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.instrument(skip_dep_check=True)
        found = "torch"
    except Exception as error:
        found = f"missing:{sys.executable}: {error!r}"
    try:
        path = os.path.join(state, f"seen-{os.getpid()}")  # noqa: PTH118
        # Nobody's link is followed: the directory of a superuser's run is open to others.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        with open(os.open(path, flags, 0o600), "w") as file:  # noqa: PTH123
            file.write(found)
    except OSError:
        pass


sys.meta_path.insert(0, _WhenTorchComes(_timed_imports()))  # type: ignore[arg-type]
_run_the_next()  # last: it may raise, and Python then says so and goes on
