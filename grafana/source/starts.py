"""Comparison of starts, ranks and replicas."""

from __future__ import annotations

from grafana.source.dashboard import to_start
from grafana.source.fields import NOTHING, Json, override
from grafana.source.metrics import GRAPHS, READY, SECONDS, quantile
from grafana.source.panels import bars, lines, promql, promql_now, table
from grafana.source.queries import (
    COMPILED,
    COMPONENTS,
    LOADED,
    SERVICE,
    START,
    behind_the_fastest,
    by_start,
    cold_and_warm,
    component_by_start,
    per_process,
    with_resource,
)
from grafana.source.start_names import named_starts, time_to_ready

_NAMED = {f"Value #{ref}": title for ref, title in zip("ABC", COMPONENTS, strict=True)}
_BAD_S = 30
"""Highlight ranks and replicas that are this much slower than the fastest."""


def starts() -> list[tuple[Json, int]]:
    """Return the row."""
    return [
        (
            bars(
                "By start",
                "Compile seconds of each start, all its processes added up, oldest first. "
                "`torch.compile.duration`, its sum, by `compilespan.instance.id`.",
                [
                    *(
                        promql_now(component_by_start(component), ref=ref)
                        for ref, component in zip("ABC", COMPONENTS.values(), strict=True)
                    ),
                    promql_now(named_starts(), ref="D"),
                ],
                x="Start",
                names={"said_here": "Start", **_NAMED},
                no_value=NOTHING,
                sort={"field": "Value #D", "desc": False},
            ),
            12,
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
                names={"starts": "Starts", **_NAMED},
                no_value=NOTHING,
            ),
            12,
        ),
    ]


def slowest_starts() -> list[tuple[Json, int]]:
    """Return the row."""
    missed = f'{SERVICE},torch_compile_cache_result="miss"'
    by_component = [component_by_start(each, "torch_version") for each in COMPONENTS.values()]
    slowest = f"topk(20, {time_to_ready()})"
    only = f"and on ({START}) {slowest}"
    return [
        (
            table(
                "Slowest starts",
                "The twenty starts that took longest to be ready. `compilespan.startup.duration`; "
                "`torch.compile.duration`, its sum; `torch.compile.graphs`.",
                [
                    promql_now(slowest, ref="A"),
                    *(
                        promql_now(f"{seconds} {only}", ref=ref)
                        for ref, seconds in zip("BCD", by_component, strict=True)
                    ),
                    promql_now(f"{by_start(SECONDS, LOADED)} {only}", ref="E"),
                    promql_now(f"{by_start(GRAPHS, missed)} {only}", ref="F"),
                    promql_now(f"1000 * {named_starts()} {only}", ref="G"),
                ],
                names={
                    "said_here": "Start",
                    "Value #G": "Began",
                    "Value #A": "Time to ready",
                    "Value #B": "Encoder",
                    "Value #C": "Language model",
                    "Value #D": "Other",
                    "Value #E": "Loads",
                    "Value #F": "Cache misses",
                    "torch_version": "torch",
                },
                hidden=("start",),
                overrides=[
                    override("Start", links=[to_start()]),
                    override("Began", unit="dateTimeAsIso"),
                    override("Cache misses", unit="short", noValue="0"),
                ],
                sort_by="Time to ready",
                no_value="No start in this time range",
            ),
            24,
        ),
    ]


def processes() -> list[tuple[Json, int]]:
    """Return the row."""
    living = f"min by ({START}) ({with_resource(READY, SERVICE)}) * 0"
    replicas = f"({time_to_ready()} + on ({START}) group_left () {living})"
    return [
        (
            table(
                "Ranks and workers",
                "Compile time of each process of the start, and how much slower it was than the "
                "fastest. "
                "`torch.compile.duration`, its sum; `torch.distributed.rank`.",
                [
                    promql_now(per_process(), ref="A"),
                    promql_now(behind_the_fastest(per_process()), ref="B"),
                ],
                names={
                    "torch_distributed_rank": "Rank",
                    "Value #A": "Compile time",
                    "Value #B": "Behind the fastest",
                    "instance": "Process",
                },
                overrides=[_behind()],
                sort_by="Compile time",
                no_value=NOTHING,
            ),
            8,
        ),
        (
            table(
                "Replicas",
                "Starts of this service that are running now, and how much slower each was than "
                "the fastest. `compilespan.startup.duration`; `compilespan.ready`.",
                [
                    promql_now(replicas, ref="A"),
                    promql_now(behind_the_fastest(replicas), ref="B"),
                    promql_now(f"{named_starts()} and on ({START}) {living}", ref="C"),
                ],
                names={
                    "said_here": "Start",
                    "Value #A": "Time to ready",
                    "Value #B": "Behind the fastest",
                },
                hidden=("start",),
                overrides=[override("Start", links=[to_start()]), _behind()],
                sort_by="Time to ready",
                no_value="No process of this service reports now",
            ),
            8,
        ),
        (
            lines(
                "How long compiles took",
                "The median so far; a diamond is one compile at its exact length, and leads to its "
                "trace. `torch.compile.duration`.",
                [
                    promql(
                        quantile(0.5, f"{COMPILED},{component}"),
                        ref=ref,
                        legend=f"{title.lower()}, median",
                        exemplar=True,
                    )
                    for ref, (title, component) in zip("ABC", COMPONENTS.items(), strict=True)
                ],
                no_value=NOTHING,
            ),
            8,
        ),
    ]


def _behind() -> Json:
    steps = [{"color": "text", "value": None}, {"color": "orange", "value": _BAD_S}]
    return override(
        "Behind the fastest",
        thresholds={"mode": "absolute", "steps": steps},
        color={"mode": "thresholds"},
        **{"custom.cellOptions": {"type": "color-text"}},
    )
