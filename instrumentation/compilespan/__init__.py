"""torch.compile on OpenTelemetry: one span per compile, encoder and language model apart.

    from compilespan import TorchCompileInstrumentor, monitor_torch_compile

    TorchCompileInstrumentor().instrument()          # every compile, or
    with monitor_torch_compile("unet", is_encoder=False):
        pipe(prompt)                                 # one block of yours

Importing it imports neither torch nor the OpenTelemetry SDK.
"""

from compilespan.components.marks import mark_component
from compilespan.instrumentor import TorchCompileInstrumentor
from compilespan.journal.writer import open_journal as _open_journal
from compilespan.ledger.ledger import CompileLedger, get_ledger, mark_ready
from compilespan.ledger.records import CompileRecord
from compilespan.ledger.totals import CompileTotals
from compilespan.monitor.block import monitor_torch_compile
from compilespan.semconv import __version__ as __version__
from compilespan.telemetry.telemetry import flush_at_end_of_child as _flush_at_end_of_child
from compilespan.warmup.plan import WarmupTarget
from compilespan.warmup.warmup import warm

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

# What only a process that compiles needs: its journal, and its flush at the end.
get_ledger().before_first_compile(_open_journal)
get_ledger().before_first_compile(_flush_at_end_of_child)
