"""One OpenTelemetry span per torch.compile, labelled as encoder, language model or other.

    from compilespan import TorchCompileInstrumentor, monitor_torch_compile

    TorchCompileInstrumentor().instrument()          # every compile, or
    with monitor_torch_compile("unet", is_encoder=False):
        pipe(prompt)                                 # one block of code

Importing this package imports neither torch nor the OpenTelemetry SDK. Most names are imported on
first access, so that a server can open its port earlier.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from compilespan.ledger.ledger import CompileLedger, get_ledger, mark_ready
from compilespan.semconv import __version__ as __version__

if TYPE_CHECKING:
    from compilespan.components.marks import mark_component
    from compilespan.instrumentor import TorchCompileInstrumentor
    from compilespan.ledger.records import CompileRecord
    from compilespan.ledger.totals import CompileTotals
    from compilespan.monitor.block import monitor_torch_compile
    from compilespan.warmup.plan import WarmupTarget
    from compilespan.warmup.warm import warm

__all__ = [
    "CompileLedger",
    "CompileRecord",
    "CompileTotals",
    "TorchCompileInstrumentor",
    "WarmupTarget",
    "get_ledger",
    "mark_component",
    "mark_ready",
    "monitor_torch_compile",
    "warm",
]

_MODULES = {
    "CompileRecord": "compilespan.ledger.records",
    "CompileTotals": "compilespan.ledger.totals",
    "TorchCompileInstrumentor": "compilespan.instrumentor",
    "WarmupTarget": "compilespan.warmup.plan",
    "mark_component": "compilespan.components.marks",
    "monitor_torch_compile": "compilespan.monitor.block",
    "warm": "compilespan.warmup.warm",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        found = globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
        return found
    msg = f"module 'compilespan' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})


# Only a process that compiles needs a journal, and flushes.


def _open_journal() -> None:
    from compilespan.journal.writer import open_journal  # noqa: PLC0415  # see above

    open_journal()


def _flush_at_end_of_child() -> None:
    from compilespan.telemetry.telemetry import flush_at_end_of_child  # noqa: PLC0415  # see above

    flush_at_end_of_child()


def _flush_after_compiles() -> None:
    from compilespan.telemetry.prompt_export import flush_after_compiles  # noqa: PLC0415  # above

    flush_after_compiles()


def _share_compile_cache() -> None:
    if os.environ.get("COMPILESPAN_CACHE_URL"):
        from compilespan.cache.sharing import share_what_is_compiled  # noqa: PLC0415  # above

        share_what_is_compiled()


get_ledger().before_first_compile(_open_journal)
get_ledger().before_first_compile(_flush_at_end_of_child)
get_ledger().before_first_compile(_flush_after_compiles)
get_ledger().before_first_compile(_share_compile_cache)
