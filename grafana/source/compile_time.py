"""The dashboard "Compile time: encoder and language model", in the page's order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.source import stages, starts, trouble
from grafana.source.dashboard import SLOW_START, dashboard, link, values
from grafana.source.queries import COUNT, PROCESS
from grafana.source.stat_row import stat_row

if TYPE_CHECKING:
    from grafana.source.panels import Json

UID = "compilespan-compile-time"


def build() -> Json:
    """Return it."""
    return dashboard(
        UID,
        "Compile time: encoder and language model",
        "Why did the server take so long to start, and was it the encoder or the language model?",
        variables=[
            values(
                "instance",
                "Instance",
                'label_values(compilespan_ready{job=~"$service"}, instance)',
            ),
            values(
                "name",
                "torch.compile.name",
                f"label_values({COUNT}{{{PROCESS}}}, torch_compile_name)",
            ),
        ],
        links=[link("A slow start", SLOW_START, "Traces of starts, warmups and compiles")],
        rows=[
            ("", 4, stat_row()),
            ("Starts", 10, starts.starts()),
            ("", 8, starts.slowest_starts()),
            ("What compiles spent their time on", 8, stages.stages()),
            ("Ranks and replicas", 9, starts.processes()),
            ("While serving", 9, trouble.serving()),
            ("Failed", 8, trouble.failed()),
            ("Limits", 4, trouble.limits()),
        ],
    )
