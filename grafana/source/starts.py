"""Starts and processes beside each other: which one was slow, and in what."""

from __future__ import annotations

from dashboard import to_start
from panels import NOTHING, Json, bars, lines, override, promql, promql_now, table
from queries import (
    BUCKETS,
    COMPILED,
    ENCODER,
    GRAPHS,
    LANGUAGE_MODEL,
    NAMED,
    PROCESS,
    SECONDS,
    START,
    STARTUP,
    TO_READY,
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
        for ref, component in (("A", ENCODER), ("B", LANGUAGE_MODEL))
    ]
    return [
        (
            bars(
                "By start",
                "Compile seconds of each start, all its processes added up, oldest first. "
                "`torch.compile.duration`, its sum, by `compilespan.instance.id`.",
                [*targets, promql_now(began(), ref="C")],
                x="Start",
                names={START: "Start", "Value #A": "Encoder", "Value #B": "Language model"},
                no_value=NOTHING,
                oldest_first="Value #C",
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
                    promql_now(cold_and_warm(ENCODER), ref="A"),
                    promql_now(cold_and_warm(LANGUAGE_MODEL), ref="B"),
                ],
                x="Starts",
                names={"starts": "Starts", "Value #A": "Encoder", "Value #B": "Language model"},
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
                        legend=f"{title} · {{{{instance}}}}",
                    )
                    for ref, title, component in (
                        ("A", "encoder", ENCODER),
                        ("B", "language model", LANGUAGE_MODEL),
                    )
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
    slowest = by_start(STARTUP, TO_READY, "torch_version", also=("job",), how="max")
    return [
        (
            table(
                "Slowest starts",
                "The twenty starts that took longest to be ready. `compilespan.startup.duration`, "
                "phase `total`; `torch.compile.duration`, its sum; `torch.compile.graphs`.",
                [
                    promql_now(f"topk(20, {slowest})", ref="A"),
                    promql_now(component_by_start(ENCODER), ref="B"),
                    promql_now(component_by_start(LANGUAGE_MODEL), ref="C"),
                    promql_now(by_start(SECONDS, loads), ref="D"),
                    promql_now(by_start(GRAPHS, missed), ref="E"),
                    promql_now(began(), ref="F"),
                ],
                names={
                    START: "Start",
                    "Value #F": "Began",
                    "Value #A": "Time to ready",
                    "Value #B": "Encoder",
                    "Value #C": "Language model",
                    "Value #D": "Loads",
                    "Value #E": "Cache misses",
                    "torch_version": "torch",
                    "job": "Service",
                },
                overrides=[
                    override("Start", links=[to_start()]),
                    override("Began", unit="dateTimeAsIso"),
                    override("Cache misses", unit="short", noValue="0"),
                    *(
                        override(column, noValue="–")
                        for column in ("Time to ready", "Encoder", "Language model", "Loads")
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
                        legend=f"{title}, {word}",
                        exemplar=True,
                    )
                    for ref, quantile, word, title, component in (
                        ("A", "0.5", "median", "encoder", ENCODER),
                        ("B", "1", "longest", "encoder", ENCODER),
                        ("C", "0.5", "median", "language model", LANGUAGE_MODEL),
                        ("D", "1", "longest", "language model", LANGUAGE_MODEL),
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
