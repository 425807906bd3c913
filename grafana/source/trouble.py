"""Problems: compiles while serving, failed compiles, limits, alerts."""

from __future__ import annotations

from grafana.source.fields import FAILED_COLOUR, TIME, Json, override, wide
from grafana.source.metrics import COUNT, DROPPED, LIMIT_HITS, RECOMPILES, SECONDS
from grafana.source.panels import number, panel, promql_now, stat, table
from grafana.source.queries import FAILED, SERVICE, of_start, zero_where_nothing
from grafana.source.spans import OF_START, spans

_COMPILES = f"span.torch.compile.trigger != nil && {OF_START}"


def serving() -> list[tuple[Json, int]]:
    """Return the row."""
    again = of_start(RECOMPILES, f'{SERVICE},torch_compile_phase="serving"')
    return [
        (
            table(
                "Recompiles, and what changed",
                "Frames of this start compiled again after ready, by what the guard found changed. "
                "`torch.compile.recompiles`, phase `serving`.",
                [
                    promql_now(
                        "sum by (torch_compile_name, torch_compile_recompile_reason_class) "
                        f"({again})"
                    )
                ],
                unit="short",
                names={
                    "torch_compile_name": "Name",
                    "torch_compile_recompile_reason_class": "What changed",
                    "Value": "Recompiles",
                },
                overrides=[wide("What changed", 120), wide("Recompiles", 110)],
                sort_by="Recompiles",
                no_value="None since the processes report",
            ),
            9,
        ),
        (
            spans(
                "Compiled while serving, and under which request",
                "Spans `torch.compile` of phase `serving`. The trace is that of the request that "
                "waited for it, and shows the guard that failed; if no request waited, the span "
                "links to the start.",
                f'{_COMPILES} && span.torch.compile.phase = "serving"',
                {
                    "torch.compile.name": "Name",
                    "torch.compile.component": "Component",
                    "torch.compile.is_recompile": "Again",
                    "torch.compile.outcome": "Outcome",
                },
                no_value="None",
            ),
            15,
        ),
    ]


def failed() -> list[tuple[Json, int]]:
    """Return the row."""
    told = "torch_compile_name, torch_compile_phase, error_type"
    red = {
        "color": {"mode": "fixed", "fixedColor": FAILED_COLOUR},
        "custom.cellOptions": {"type": "color-text"},
    }
    return [
        (
            table(
                "Failed compiles",
                "Compiles and loads of this start whose error reached the program or was "
                "suppressed; they are in no other number here. `torch.compile.duration`, its count "
                "and its sum, outcome `failed`.",
                [
                    promql_now(f"sum by ({told}) ({of_start(COUNT, FAILED)})", ref="A"),
                    promql_now(f"sum by ({told}) ({of_start(SECONDS, FAILED)})", ref="B"),
                ],
                unit="short",
                names={
                    "torch_compile_name": "Name",
                    "error_type": "Error",
                    "Value #A": "Failed",
                    "Value #B": "Took",
                    "torch_compile_phase": "Phase",
                },
                overrides=[
                    wide("Error", 200),
                    override("Failed", **red, **{"custom.width": 70}),
                    override("Took", unit=TIME),
                ],
                sort_by="Failed",
                no_value="None",
            ),
            11,
        ),
        (
            spans(
                "Traces of failed compiles",
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
    # Events of stages are limited on purpose; the seconds of stages stay complete.
    dropped = of_start(DROPPED, f'{SERVICE},compilespan_signal!="stages"')
    return [
        (
            stat(
                "Frames over the recompile limit",
                "Frames that recompiled too often: new shapes run eager until the process is "
                "restarted. `torch.compile.recompile_limit_hits`.",
                [number(zero_where_nothing(f"sum({of_start(LIMIT_HITS, SERVICE)})"))],
                unit="short",
                no_value="No process reports",
                bad_from=1,
            ),
            6,
        ),
        (
            stat(
                "Telemetry dropped",
                "Events, records and journal lines that were lost because a limit was reached. "
                "`compilespan.telemetry.dropped`.",
                [number(zero_where_nothing(f"sum({dropped})"))],
                unit="short",
                no_value="No process reports",
                bad_from=1,
            ),
            6,
        ),
        (_alerts(), 12),
    ]


def _alerts() -> Json:
    """Return the list of firing and pending alerts; the stack has no Alertmanager."""
    return panel(
        "alertlist",
        "Alerts",
        "Firing and pending alerts of compilespan.",
        [],
        unit="string",
        no_value="None fires",
        options={
            "alertInstanceLabelFilter": "",
            "alertName": "Compilespan",
            "dashboardAlerts": False,
            "groupBy": [],
            "groupMode": "default",
            "maxItems": 20,
            "showInactiveAlerts": False,
            "sortOrder": 1,
            "stateFilter": {
                "error": True,
                "firing": True,
                "noData": False,
                "normal": False,
                "pending": True,
                "recovering": False,
            },
            "viewMode": "list",
        },
    )
