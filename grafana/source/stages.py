"""Compile time by stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.source.metrics import STAGE_TIME
from grafana.source.panels import bars, promql_now
from grafana.source.queries import COMPONENTS, SERVICE, of_start

if TYPE_CHECKING:
    from grafana.source.fields import Json


def stages() -> Json:
    """Return a panel with one bar per stage, split by component."""
    spent = [of_start(STAGE_TIME, f"{SERVICE},{selector}") for selector in COMPONENTS.values()]
    whole = of_start(STAGE_TIME, SERVICE)  # to sort by
    return bars(
        "Compile time by stage",
        "Seconds of compiles and failed loads of the start: tracing, AOTAutograd, lowering, "
        "building kernels, tuning, caches; of all processes. They sum to the compile seconds and "
        "those of failures. `torch.compile.stage.time`.",
        [
            promql_now(f"sum by (torch_compile_stage) ({each})", ref=ref)
            for ref, each in zip("ABCD", (*spent, whole), strict=True)
        ],
        x="Stage",
        names={
            "torch_compile_stage": "Stage",
            **{f"Value #{ref}": title for ref, title in zip("ABC", COMPONENTS, strict=True)},
        },
        no_value="No compile has ended yet",
        sort={"field": "Value #D", "desc": True},
    )
