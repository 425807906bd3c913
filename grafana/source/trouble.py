"""What should not be: compiles while serving, and compiles that failed."""

from __future__ import annotations

from grafana.source.panels import (
    FAILED_COLOUR,
    Json,
    override,
    promql_now,
    stat,
    table,
    wide,
)
from grafana.source.queries import (
    COUNT,
    NAMED,
    PROCESS,
    last,
    recompiles_while_serving,
    zero_where_nothing,
)
from grafana.source.spans import spans

# As the variables choose them.
_COMPILES = (
    'span.torch.compile.trigger != nil && span.torch.compile.name =~ "$name" && '
    'resource.service.name =~ "$service"'
)


def serving() -> list[tuple[Json, int]]:
    """Return the row."""
    return [
        (
            table(
                "Recompiles, and what changed",
                "Frames compiled again after ready, by what the guard found changed. "
                "`torch.compile.recompiles`, phase `serving`.",
                [
                    promql_now(
                        "sum by (job, instance, torch_compile_name, "
                        f"torch_compile_recompile_reason_class) ({recompiles_while_serving()})"
                    )
                ],
                unit="short",
                names={
                    "torch_compile_name": "Name",
                    "torch_compile_recompile_reason_class": "What changed",
                    "Value": "Recompiles",
                    "instance": "Instance",
                    "job": "Service",
                },
                overrides=[wide("Name", 180), wide("What changed", 120), wide("Recompiles", 100)],
                sort_by="Recompiles",
                no_value="None since the processes report",
            ),
            11,
        ),
        (
            spans(
                "Compiled while serving, and under which request",
                "Spans `torch.compile` of phase `serving`. The trace is that of the request that "
                "waited for it, and shows the guard that failed.",
                f'{_COMPILES} && span.torch.compile.phase = "serving"',
                {
                    "torch.compile.name": "Name",
                    "torch.compile.component": "Component",
                    "torch.compile.is_recompile": "Again",
                    "torch.compile.outcome": "Outcome",
                },
                no_value="None",
            ),
            13,
        ),
    ]


def failed() -> list[tuple[Json, int]]:
    """Return the row."""
    failed = last(COUNT, f'{NAMED},torch_compile_outcome="failed"')
    return [
        (
            table(
                "Failed compiles",
                "Compiles whose error reached the program or was suppressed; their seconds are in "
                "no other number here. `torch.compile.duration`, its count, outcome `failed`.",
                [
                    promql_now(
                        "sum by (job, instance, torch_compile_name, torch_compile_phase, "
                        f"error_type) ({failed})"
                    )
                ],
                unit="short",
                names={
                    "torch_compile_name": "Name",
                    "error_type": "Error",
                    "Value": "Failed",
                    "torch_compile_phase": "Phase",
                    "instance": "Instance",
                    "job": "Service",
                },
                overrides=[
                    wide("Name", 180),
                    wide("Error", 240),
                    override(
                        "Failed",
                        color={"mode": "fixed", "fixedColor": FAILED_COLOUR},
                        **{"custom.cellOptions": {"type": "color-text"}},
                    ),
                ],
                sort_by="Failed",
                no_value="None",
            ),
            11,
        ),
        (
            spans(
                "Failed compiles, their traces",
                "Spans `torch.compile` with status ERROR; the event `exception` has the message.",
                f"{_COMPILES} && status = error",
                {
                    "torch.compile.name": "Name",
                    "torch.compile.component": "Component",
                    "error.type": "Error",
                },
                no_value="None",
            ),
            13,
        ),
    ]


def limits() -> list[tuple[Json, int]]:
    """Return the row."""
    limit = last("torch_compile_recompile_limit_hits_total", PROCESS)
    # Changes of stage have a bound on purpose: their seconds are complete.
    dropped = last("compilespan_telemetry_dropped_total", f'{PROCESS},compilespan_signal!="stages"')
    return [
        (
            stat(
                "Gave up: recompile limit",
                "Frames that recompiled too often: shapes that are not compiled run eager until "
                "the process is started anew. `torch.compile.recompile_limit_hits`.",
                zero_where_nothing(f"sum({limit})"),
                unit="short",
                no_value="No process reports",
            ),
            12,
        ),
        (
            stat(
                "Telemetry dropped",
                "Events, records and journal lines that were lost because a bound was reached. "
                "`compilespan.telemetry.dropped`.",
                zero_where_nothing(f"sum({dropped})"),
                unit="short",
                no_value="No process reports",
            ),
            12,
        ),
    ]
