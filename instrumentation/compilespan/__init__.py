"""torch.compile on OpenTelemetry: one span per compile, encoder and language model apart.

    from compilespan import TorchCompileInstrumentor, monitor_torch_compile

    TorchCompileInstrumentor().instrument()          # every compile, or
    with monitor_torch_compile("unet", is_encoder=False):
        pipe(prompt)                                 # one block of yours

Importing it imports neither torch nor the OpenTelemetry SDK.
"""

from compilespan._version import __version__ as __version__
from compilespan.components import mark_component
from compilespan.explicit import monitor_torch_compile
from compilespan.flushing import CHILD_FLUSH_S as _CHILD_FLUSH_S
from compilespan.flushing import at_end_of_child as _at_end_of_child
from compilespan.instrumentor import TorchCompileInstrumentor
from compilespan.journal import open_journal as _open_journal
from compilespan.ledger import CompileLedger, get_ledger, mark_ready
from compilespan.records import CompileRecord
from compilespan.telemetry import active_telemetry as _active_telemetry
from compilespan.totals import CompileTotals
from compilespan.warmup import warm
from compilespan.warmup_plan import WarmupTarget

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


def _first_compile_begins() -> None:
    """Make ready what only a process that compiles needs: its journal, its flush at the end."""
    _open_journal()
    _at_end_of_child(lambda: _active_telemetry().flush(_CHILD_FLUSH_S))


get_ledger().on_first_begin = _first_compile_begins
