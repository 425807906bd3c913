"""First screen: headline numbers, the start as a bar, compile time by component."""

from __future__ import annotations

from grafana.source.alerts import ALERTS
from grafana.source.fields import COMPONENT_COLOURS, FAILED_COLOUR, TIME, Json, coloured
from grafana.source.metrics import COUNT, RECOMPILES
from grafana.source.panels import bars, number, promql_now, stat
from grafana.source.queries import (
    CHOSEN,
    COMPONENTS,
    FAILED,
    SERVICE,
    added_up,
    from_cache,
    going_on,
    of_start,
    part,
    rest_of_start,
    slowest_process,
    with_what_goes_on,
    zero_where_nothing,
)
from grafana.source.start_names import time_to_ready, without_ready

(_TOO_LONG_S,) = (each.value for each in ALERTS if each.name == "CompilespanCompileTooLong")
_PARTS = {
    "Import": "#ca8a04",
    "Load": "#c2410c",
    "Captures": "#0369a1",
    "Waiting": "#9ca3af",
    "Rest to ready": "#6b7280",
}
_ROW = "start\\part"
"""Name that Grafana gives the first column of a matrix."""
_MATRIX = {
    "id": "groupingToMatrix",
    "options": {"columnField": "part", "rowField": "start", "valueField": "Value"},
}
"""One column per existing part, so that missing parts do not appear in the legend."""


def headline() -> list[tuple[Json, int]]:
    """Return the headline numbers of the selected start."""
    again = of_start(RECOMPILES, f'{SERVICE},torch_compile_phase="serving"')
    return [
        (
            stat(
                "Time to ready",
                "From the creation of the process to ready, of the slowest process of the start; "
                "cold: a graph missed the cache. `compilespan.startup.duration`; "
                "`torch.compile.graphs`.",
                [number(f"{time_to_ready(CHOSEN)} or on () {without_ready()}", legend="{{cache}}")],
                unit="s",
                no_value="No process of this start reports",
                text="value_and_name",
            ),
            5,
        ),
        (
            stat(
                "Compiling now, for",
                "Age of the oldest compile in progress, by component. "
                "`torch.compile.oldest_active_age`.",
                [
                    number(f"max({going_on(selector)})", ref=ref, legend=title)
                    for ref, (title, selector) in zip("ABC", COMPONENTS.items(), strict=True)
                ],
                unit="s",
                no_value="Nothing compiles now",
                text="value_and_name",
                bad_from=_TOO_LONG_S,
            ),
            5,
        ),
        (
            stat(
                "Failed",
                "Failed compiles and loads. No other number here includes them. "
                "`torch.compile.duration`, its count, outcome `failed`.",
                [number(f"sum({of_start(COUNT, FAILED)})")],
                unit="short",
                no_value="None failed",
                bad_from=1,
                bad_colour=FAILED_COLOUR,
            ),
            4,
        ),
        (
            stat(
                "Graphs from the cache",
                "Graphs of backends with a cache. `torch.compile.graphs` by "
                "`torch.compile.cache.result`.",
                [number(from_cache(), legend="{{said}}")],
                unit="percentunit",
                no_value="No backend with a cache",
                text="name",
            ),
            5,
        ),
        (
            stat(
                "Recompiles while serving",
                "Frames that were compiled again after ready. Each delayed a request. "
                "`torch.compile.recompiles`, phase `serving`.",
                [number(zero_where_nothing(f"sum({again})"))],
                unit="short",
                no_value="No process reports",
                bad_from=1,
            ),
            5,
        ),
    ]


def where_the_time_went() -> list[tuple[Json, int]]:
    """Return the start as one bar and the compile time by component."""
    return [(bar_of_start(), 14), (components(), 10)]


def bar_of_start() -> Json:
    """Return the start as one bar."""
    parts = {
        "Import": part("import"),
        "Load": part("load"),
        **{
            title: part("compile", component=f",{selector}")
            for title, selector in COMPONENTS.items()
        },
        "Captures": part("capture"),
        "Waiting": part("wait"),
        "Rest to ready": rest_of_start(),
    }
    told = (f'label_replace({of}, "part", "{title}", "", "")' for title, of in parts.items())
    return bars(
        "What the start was made of",
        "Seconds to ready, or until now; with several processes, those of the one that compiled "
        "and loaded longest. `compilespan.startup.part.duration`; "
        "`compilespan.startup.duration`.",
        [promql_now(f'label_replace({" or ".join(told)}, "start", " ", "", "")')],
        x="Start",
        names={_ROW: "Start", **{title: title for title in parts}},
        no_value="No process of this start has reported yet",
        joined=_MATRIX,
        overrides=[coloured(title, colour) for title, colour in _PARTS.items()],
    )


def components() -> Json:
    """Return the compile time of each component."""
    each = {title: with_what_goes_on(selector) for title, selector in COMPONENTS.items()}
    return stat(
        "Compile time",
        "Seconds of compile work in the slowest process, including the compile in progress, and "
        "the sum over all processes if there are several. Without failed compiles and loads. "
        "`torch.compile.duration`, its sum; `torch.compile.oldest_active_age`.",
        [
            *(
                number(slowest_process(of), ref=ref, legend=title)
                for ref, (title, of) in zip("ABC", each.items(), strict=True)
            ),
            *(
                number(added_up(of), ref=ref, legend=f"{title}, all processes")
                for ref, (title, of) in zip("DEF", each.items(), strict=True)
            ),
        ],
        unit=TIME,
        no_value="No compile succeeded yet",
        text="value_and_name",
        overrides=COMPONENT_COLOURS,
    )
