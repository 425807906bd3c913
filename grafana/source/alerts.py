"""Alerts: condition, threshold and texts of each.

Compiles happen before the first scrape, so no alert uses ``rate()``. An increase over a window is
the difference to the value at its start, or the whole value if the series did not exist then.
"""

from __future__ import annotations

from typing import NamedTuple

from grafana.source.metrics import (
    AGE,
    BEGAN,
    COUNT,
    DROPPED,
    LIMIT_HITS,
    QUARANTINES,
    READY,
    WARMUPS,
    Series,
)
from grafana.source.queries import START

_ONES = "{{ $value }} %s{{ if ne $value 1.0 }}s{{ end }}"


class Alert(NamedTuple):
    """An alert with its threshold.

    Attributes:
        name: Name of the alert and of its heading in docs/runbook.md.
        threshold: Name of the series that holds the threshold.
        value: Value of the threshold.
        means: Meaning of the threshold, one sentence.
        expr: Condition; ``{threshold}`` stands for the series.
        severity: ``critical``, ``warning`` or ``info``.
        summary: What happened, one line.
        description: Details with numbers.
        runbook: What to do, one sentence.
        wait: How long the condition must hold before the alert fires.
        why: Comment for the generated file.
    """

    name: str
    threshold: str
    value: float
    means: str
    expr: str
    severity: str
    summary: str
    description: str
    runbook: str
    wait: str = ""
    why: str = ""


def _new(series: Series, labels: str, by: str, window: str) -> str:
    """Return the increase over a window; the whole value if the process was restarted in it."""
    ago = f"[1d] offset {window}"
    now, before = (
        f"sum by ({by}) ({series(labels, over)})".replace(" or ", "\n    or ") for over in ("", ago)
    )
    same = f"{_IS_PROCESS} ({BEGAN()} == {BEGAN('', ago)})"
    return (
        f"{now}\n- (\n  {before}\n  and {same}\n  or 0 * {now}\n)\n"
        "> on () group_left () {threshold}"
    )


def _seen(ready: str) -> str:
    """Return the starts that reported this readiness (0 or 1) within the last hour."""
    said = f"{BEGAN()} and {_IS_PROCESS} {READY()} == {ready}"
    return f"last_over_time(({_BY_BEGINNING % said})[1h:1m])"


_PROCESS = "job, instance"
_IS_PROCESS = "on (job, instance)"
_IS_START = "on (job, instance, began)"
# Processes that share an instance id differ only in the time at which they began.
_BY_BEGINNING = f'count_values by ({_PROCESS}) ("began", %s)'

ALERTS = (
    Alert(
        "CompilespanNotReady",
        "not_ready_seconds",
        900,
        "Seconds after which a process should be ready: 15 minutes.",
        f"(\n  time() - {BEGAN()}\n  and {_IS_PROCESS} {READY()} == 0\n)\n"
        "> on () group_left () {threshold}",
        "critical",
        "{{ $labels.job }} is not ready after {{ $value | humanizeDuration }}",
        "Process {{ $labels.instance }} began {{ $value | humanizeDuration }} ago and reports that "
        "it is not ready.",
        "GET /readyz says what it waits for, the page / shows what is compiling; your own "
        "program has to call mark_ready().",
    ),
    Alert(
        "CompilespanStartDied",
        "died_starts",
        0,
        "Processes of a service that may end in an hour without having been ready.",
        f"count by (job) (\n  {_seen('0')}\n  unless {_IS_START} {_seen('1')}\n"
        f"  unless {_IS_START} {_BY_BEGINNING % BEGAN()}\n)\n> on () group_left () {{threshold}}",
        "warning",
        "{{ $labels.job }} ended before it was ready",
        "{{ $value }} {{ if eq $value 1.0 }}process{{ else }}processes{{ end }} of it ended in the "
        "last hour without having been ready.",
        "GET /history of the next start says what was compiling, for how long, and with how much "
        "memory; the span compilespan.startup has the same.",
    ),
    Alert(
        "CompilespanCrashLoop",
        "short_starts",
        2,
        "Starts of a service in an hour, if none of them lives for 15 minutes.",
        f"count by (job) (\n  count by (job, {START}) (last_over_time(compilespan:process[1h]))\n"
        ")\n"
        "> on () group_left () {threshold}\n"
        "and on (job) max by (job) (count_over_time(compilespan:process[1h:1m])) < 25",
        "critical",
        "{{ $labels.job }} starts again and again",
        "{{ $value }} starts in an hour, and no process lived for 15 minutes.",
        "What ends them? GET /history says killed (memory? a probe?), failed (the log) or exit; a "
        "startup probe has to allow for a cold start.",
        "26m",
        "An ended process stays visible for up to ten minutes, so a single restart looks the same "
        "at first.",
    ),
    Alert(
        "CompilespanWarmupFailed",
        "failed_warmups",
        0,
        "Warmup jobs that may fail or time out in an hour.",
        _new(WARMUPS, 'compilespan_job_state=~"failed|timed_out"', _PROCESS, "1h"),
        "critical",
        "A warmup of {{ $labels.job }} failed",
        f"{_ONES % 'warmup job'} of {{{{ $labels.instance }}}} failed or timed out in the last "
        "hour.",
        "GET /warmup has the error of each item; when it is fixed, POST /warmup warms what is not "
        "warm yet.",
    ),
    Alert(
        "CompilespanCompiledWhileServing",
        "serving_compiles",
        0,
        "Compiles in 15 minutes that may delay a request.",
        _new(
            COUNT,
            'torch_compile_phase="serving",torch_compile_kind="compile"',
            f"{_PROCESS}, torch_compile_name",
            "15m",
        ),
        "warning",
        "{{ $labels.torch_compile_name }} of {{ $labels.job }} compiled while serving",
        f"{_ONES % 'compile'} in 15 minutes delayed requests of {{{{ $labels.instance }}}}.",
        "GET /compiles?phase=serving has the guard that failed, the trace has the request; add "
        "that shape to the warmup.",
    ),
    Alert(
        "CompilespanRecompileLimitHit",
        "recompile_limit_hits",
        0,
        "Frames that may exceed the recompile limit in the life of a process.",
        f"sum by ({_PROCESS}) ({LIMIT_HITS()})\n> on () group_left () {{threshold}}",
        "warning",
        "{{ $labels.job }} runs shapes uncompiled",
        f"{_ONES % 'frame'} of {{{{ $labels.instance }}}} exceeded the recompile limit: new shapes "
        "run eager until the process is restarted.",
        "Mark the dimension that varies as dynamic, or raise torch._dynamo.config.recompile_limit, "
        "and restart the process.",
    ),
    Alert(
        "CompilespanColdStartSlow",
        "cold_start_ratio",
        1.3,
        "Factor by which a cold start may exceed the service's median cold start of 7 days.",
        "(\n  compilespan:cold_start_seconds unless compilespan:cold_start_seconds offset 1h\n"
        f"  and on (job, {START}) compilespan:start_ready_time > time() - 3600\n)\n"
        "/ on (job) group_left ()\n"
        "  quantile by (job) (0.5, last_over_time(compilespan:cold_start_seconds[7d]))\n"
        "> on () group_left () {threshold}",
        "warning",
        'A cold start of {{ $labels.job }} took {{ printf "%.1f" $value }} times as long as usual',
        "Start {{ $labels.compilespan_instance_id }}, compared with the median of the cold starts "
        "of 7 days.",
        'The dashboard "A slow start" shows which compile grew; compare torch.version and graph '
        "counts with an earlier start.",
    ),
    Alert(
        "CompilespanGraphHitRatioLow",
        "graph_hit_ratio",
        0.8,
        "Share of graphs that should come from the cache, once they did.",
        "compilespan:graph_hit_ratio < on () group_left () {threshold}\n"
        "and on (job) max_over_time(compilespan:graph_hit_ratio[7d])\n"
        "  >= on () group_left () {threshold}",
        "warning",
        "{{ $labels.job }} finds {{ $value | humanizePercentage }} of its graphs in the cache",
        "In the last 7 days it reached the threshold.",
        "Is the cache volume mounted? Did torch, the GPU or the model change? Then graphs are "
        "compiled once more.",
        "5m",
    ),
    Alert(
        "CompilespanPoisonedCache",
        "quarantines",
        0,
        "Publications of the shared compile cache that a process may put into quarantine.",
        f"sum by ({_PROCESS}) ({QUARANTINES()})\n> on () group_left () {{threshold}}",
        "warning",
        "{{ $labels.job }} died or failed with what the shared compile cache had",
        f"{_ONES % 'publication'} in quarantine since {{{{ $labels.instance }}}} started, which "
        "compiled instead.",
        "compilespan cache quarantine ls URL has who published it and when; the log of the starts "
        "before has the crash.",
    ),
    Alert(
        "CompilespanCompileTooLong",
        "compile_seconds",
        1200,
        "Seconds that one compile may take: 20 minutes.",
        f"max by ({_PROCESS}) ({AGE()})\n> on () group_left () {{threshold}}",
        "critical",
        "{{ $labels.job }} has been compiling for {{ $value | humanizeDuration }}",
        "The oldest compile in progress of {{ $labels.instance }} is {{ $value | humanizeDuration "
        "}} old.",
        "GET /totals has its name and graphs under in_progress; if it hangs, budget_s with "
        "--on-hang=exit ends such a process.",
    ),
    Alert(
        "CompilespanTelemetryDropped",
        "telemetry_dropped",
        0,
        "Events, records or journal lines that may be dropped in an hour.",
        _new(DROPPED, 'compilespan_signal!="stages"', f"{_PROCESS}, compilespan_signal", "1h"),
        "info",
        "{{ $labels.job }} dropped {{ $labels.compilespan_signal }}",
        "{{ $value }} in an hour, of {{ $labels.instance }}. Totals are still complete, "
        "details are not.",
        "events: raise OTEL_SPAN_EVENT_COUNT_LIMIT; subscription: a subscriber is slow; journal: "
        "the state directory is full or not writable.",
    ),
)
