"""Starts and processes beside each other: which one was slow, and in what."""

from __future__ import annotations

from grafana.source.dashboard import to_start
from grafana.source.panels import NOTHING, Json, bars, lines, override, promql, promql_now, table
from grafana.source.queries import (
    BUCKETS,
    COMPILED,
    COMPONENTS,
    GRAPHS,
    NAMED,
    PROCESS,
    SECONDS,
    START,
    STARTUP,
    began,
    behind_the_fastest,
    by_start,
    cold_and_warm,
    component_by_start,
    per_process,
)


def starts() -> list[tuple[Json, int]]:
    """Return the row."""
    targets = [
        promql_now(component_by_start(component), ref=ref)
        for ref, component in zip("ABC", COMPONENTS.values(), strict=True)
    ]
    columns = {f"Value #{ref}": title for ref, title in zip("ABC", COMPONENTS, strict=True)}
    return [
        (
            bars(
                "By start",
                "Compile seconds of each start, all its processes added up, oldest first. "
                "`torch.compile.duration`, its sum, by `compilespan.instance.id`.",
                [*targets, promql_now(began(), ref="D")],
                x="Start",
                names={START: "Start", **columns},
                no_value=NOTHING,
                oldest_first="Value #D",
            ),
            8,
        ),
        (
            bars(
                "Cold against warm",
                "Mean compile seconds of cold starts (any graph missed the cache) and of warm "
                "ones, for each version of torch. `torch.compile.duration`, its sum; "
                "`torch.compile.graphs` with result `miss`; `torch.version`.",
                [
                    promql_now(cold_and_warm(component), ref=ref)
                    for ref, component in zip("ABC", COMPONENTS.values(), strict=True)
                ],
                x="Starts",
                names={"starts": "Starts", **columns},
                no_value=NOTHING,
            ),
            8,
        ),
        (
            lines(
                "By instance, as it grows",
                "Compile seconds so far of each process; a step is a compile that ended. "
                "`torch.compile.duration`, its sum.",
                [
                    promql(
                        f"sum by (instance) ({SECONDS}{{{COMPILED},{component}}})",
                        ref=ref,
                        legend=f"{title.lower()} · {{{{instance}}}}",
                    )
                    for ref, (title, component) in zip("ABC", COMPONENTS.items(), strict=True)
                ],
                no_value=NOTHING,
                stacked=True,
            ),
            8,
        ),
    ]


def slowest_starts() -> list[tuple[Json, int]]:
    """Return the row."""
    missed = f'{PROCESS},torch_compile_cache_result="miss"'
    loads = f'{NAMED},torch_compile_kind="load",torch_compile_outcome!="failed"'
    slowest = by_start(STARTUP, PROCESS, "torch_version", also=("job",), how="max")
    return [
        (
            table(
                "Slowest starts",
                "The twenty starts that took longest to be ready. `compilespan.startup.duration`, "
                "phase `total`; `torch.compile.duration`, its sum; `torch.compile.graphs`.",
                [
                    promql_now(f"topk(20, {slowest})", ref="A"),
                    *(
                        promql_now(component_by_start(component), ref=ref)
                        for ref, component in zip("BCD", COMPONENTS.values(), strict=True)
                    ),
                    promql_now(by_start(SECONDS, loads), ref="E"),
                    promql_now(by_start(GRAPHS, missed), ref="F"),
                    promql_now(began(), ref="G"),
                ],
                names={
                    START: "Start",
                    "Value #G": "Began",
                    "Value #A": "Time to ready",
                    "Value #B": "Encoder",
                    "Value #C": "Language model",
                    "Value #D": "Other",
                    "Value #E": "Loads",
                    "Value #F": "Cache misses",
                    "torch_version": "torch",
                    "job": "Service",
                },
                overrides=[
                    override("Start", links=[to_start()]),
                    override("Began", unit="dateTimeAsIso"),
                    override("Cache misses", unit="short", noValue="0"),
                    *(
                        override(column, noValue="–")
                        for column in ("Time to ready", *COMPONENTS, "Loads")
                    ),
                ],
                sort_by="Time to ready",
                no_value="No start in this time range",
            ),
            24,
        ),
    ]


def processes() -> list[tuple[Json, int]]:
    """Return the row."""
    return [
        (
            table(
                "Skew",
                "Compile time of each process, and how far it was behind the fastest rank of its "
                "start and the fastest replica of its service. `torch.compile.duration`, its sum; "
                "`torch.distributed.rank`.",
                [
                    promql_now(per_process(), ref="A"),
                    promql_now(behind_the_fastest(START), ref="B"),
                    promql_now(behind_the_fastest("job"), ref="C"),
                ],
                names={
                    START: "Start",
                    "torch_distributed_rank": "Rank",
                    "Value #A": "Compile time",
                    "Value #B": "Behind rank",
                    "Value #C": "Behind replica",
                    "instance": "Instance",
                    "job": "Service",
                },
                overrides=[override("Start", links=[to_start()])],
                sort_by="Compile time",
                no_value=NOTHING,
            ),
            14,
        ),
        (
            lines(
                "How long compiles took",
                "Median and longest compile so far, as the upper bounds of their buckets; a "
                "diamond is one compile, and leads to its trace. `torch.compile.duration`.",
                [
                    promql(
                        f"histogram_quantile({quantile}, sum by (le) "
                        f"({BUCKETS}{{{COMPILED},{component}}}))",
                        ref=ref,
                        legend=f"{title.lower()}, {word}",
                        exemplar=True,
                    )
                    for refs, (title, component) in zip(
                        ("AB", "CD", "EF"), COMPONENTS.items(), strict=True
                    )
                    for ref, quantile, word in zip(
                        refs, ("0.5", "1"), ("median", "longest"), strict=True
                    )
                ],
                overrides=[
                    {
                        "matcher": {"id": "byRegexp", "options": "/median$/"},
                        "properties": [
                            {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [6, 6]}}
                        ],
                    }
                ],
                no_value=NOTHING,
            ),
            10,
        ),
    ]
