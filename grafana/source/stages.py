"""What compiles spent their time on: stages, which exclude one another."""

from __future__ import annotations

from grafana.source.panels import NOTHING, Json, bar_gauge, gauged
from grafana.source.queries import COMPONENTS, PROCESS, last

_STAGE_TIME = "torch_compile_stage_time_seconds_total"


def stages() -> list[tuple[Json, int]]:
    """Return the row: a gauge for each component, a bar for each stage."""
    return [(_of(title, selector), 8) for title, selector in COMPONENTS.items()]


def _of(title: str, selector: str) -> Json:
    spent = last(_STAGE_TIME, f"{PROCESS},{selector}")
    return bar_gauge(
        f"{title} by stage",
        "Seconds of compiles and failed loads by stage: tracing, AOTAutograd, lowering, building "
        "kernels, tuning, caches. They sum to the compile seconds and those of failures. "
        "`torch.compile.stage.time`.",
        [
            gauged(
                f"sort_desc(sum by (torch_compile_stage) ({spent}))",
                ref="A",
                legend="{{torch_compile_stage}}",
            )
        ],
        no_value=NOTHING,
    )
