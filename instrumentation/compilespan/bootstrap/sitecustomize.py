"""Instruments a Python program that ``compilespan run`` started, when it imports torch.

Its directory is first in ``PYTHONPATH``, so that children also load it. A process that never
imports torch loads only this file and the import timer. The environment's own ``sitecustomize``
runs as before.
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
    """Import the ``sitecustomize`` that Python would have found without this one."""
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
    """An import finder that finds nothing; on the import of torch it leaves and instruments."""

    def __init__(self, timer: Any) -> None:
        self._timer = timer

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:  # noqa: ARG002
        if name != "torch" or self not in sys.meta_path or not _is_imported(name):
            return None
        sys.meta_path.remove(self)
        _instrument()
        # The search continues after the place that we left, and would skip the timer.
        return self._timer.find_spec(name) if self._timer is not None else None


def _is_imported(name: str) -> bool:
    """Whether this thread imports the module, and does not only look for its spec."""
    try:
        lock = sys.modules["_frozen_importlib"]._module_locks[name]()  # noqa: SLF001
        return bool(lock is not None and lock.owner == _thread.get_ident())
    except KeyError:
        return False
    except Exception:  # another Python implementation
        return True


def _timed_imports() -> Any:
    """Time imports from now on; compilespan itself is imported only if torch is."""
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120  # no pathlib here
    path = os.path.join(os.path.dirname(here), "process", "imports.py")  # noqa: PTH118, PTH120
    try:
        module = type(sys)("compilespan_imports")
        SourceFileLoader(module.__name__, path).exec_module(module)
        timer = module.ImportTimer()
        timer.begin()
    except Exception:  # our fault must not stop the program
        return None
    else:
        return timer


def _instrument() -> None:
    state = os.environ.get("COMPILESPAN_STATE_DIR", "")
    try:
        from compilespan import TorchCompileInstrumentor, get_ledger  # noqa: PLC0415
        from compilespan.journal.writer import open_journal  # noqa: PLC0415

        get_ledger().readiness.time_imports()
        open_journal()  # what this process does is part of the start, even without compiles
        instrumentor = TorchCompileInstrumentor()
        if not instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.instrument(skip_dep_check=True)
        found = "torch"
    except Exception as error:
        found = f"missing:{sys.executable}: {error!r}"
    try:
        path = os.path.join(state, f"seen-{os.getpid()}")  # noqa: PTH118
        # Follow no link: other users can write to the directory of a superuser's run.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        with open(os.open(path, flags, 0o600), "w") as file:  # noqa: PTH123
            file.write(found)
    except OSError:
        pass


sys.meta_path.insert(0, _WhenTorchComes(_timed_imports()))  # type: ignore[arg-type]
_run_the_next()  # last: if it raises, Python reports that and continues
