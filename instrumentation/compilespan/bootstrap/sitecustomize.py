"""Instruments a Python program that ``compilespan run`` started, when it imports torch.

Its directory stands first in ``PYTHONPATH``, so that children find it too. A process that never
imports torch pays for this file alone. The environment's own ``sitecustomize`` runs as before.
"""

import os
import sys


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
    """An import finder that finds nothing: it waits for torch, and then leaves."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:  # noqa: ARG002
        if name == "torch" and self in sys.meta_path:
            sys.meta_path.remove(self)
            _instrument()


def _instrument() -> None:
    state = os.environ.get("COMPILESPAN_STATE_DIR", "")
    try:
        from compilespan import TorchCompileInstrumentor  # noqa: PLC0415

        instrumentor = TorchCompileInstrumentor()
        if not instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.instrument(skip_dep_check=True)
        found = "torch"
    except Exception as error:
        found = f"missing:{sys.executable}: {error!r}"
    try:
        with open(os.path.join(state, f"seen-{os.getpid()}"), "w") as file:  # noqa: PTH118, PTH123
            file.write(found)
    except OSError:
        pass


_run_the_next()
sys.meta_path.insert(0, _WhenTorchComes())  # type: ignore[arg-type]
