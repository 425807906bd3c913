"""The dashboard "Compile time: encoder and language model", in the page's order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.source import starts, trouble
from grafana.source.dashboard import SLOW_START, dashboard, link
from grafana.source.findings import findings
from grafana.source.stages import stages
from grafana.source.stat_row import headline, where_the_time_went

if TYPE_CHECKING:
    from grafana.source.fields import Json

UID = "compilespan-compile-time"


def build() -> Json:
    """Return the dashboard."""
    return dashboard(
        UID,
        "Compile time: encoder and language model",
        "Why did the server take so long to start, and was it the encoder or the language model?",
        variables=[],
        links=[link("A slow start", SLOW_START, "Traces of starts, warmups and compiles")],
        rows=[
            ("", 5, headline()),
            ("", 6, where_the_time_went()),
            ("", 8, [(stages(), 12), (findings(), 12)]),
            ("Starts of this service", 10, starts.starts()),
            ("", 8, starts.slowest_starts()),
            ("Ranks and replicas", 9, starts.processes()),
            ("While serving", 9, trouble.serving()),
            ("Failed", 8, trouble.failed()),
            ("Limits and alerts", 6, trouble.limits()),
        ],
    )
