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
from compilespan.instrumentor import TorchCompileInstrumentor
from compilespan.journal import open_journal as _open_journal
from compilespan.ledger import CompileLedger, get_ledger, mark_ready
from compilespan.records import CompileRecord
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

# A process that compiles nothing writes nothing; one that does finds its state directory itself.
get_ledger().on_first_begin = _open_journal
