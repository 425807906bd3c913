"""PromQL of the dashboards.

Compiles happen before the first scrape, so counters often never change after their first sample and
``rate()`` would show nothing. The queries use the last value of each series in the time range, also
if the process has ended since.

Start, torch version and rank are attributes of the resource, which Prometheus stores in
``target_info`` (both its OTLP receiver and a scrape of ``/metrics`` do). A scraped server keeps its
``instance`` over restarts while ``target_info`` changes, so the join happens inside the subquery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.source.metrics import AGE, COUNT, GRAPHS, PART, READY, SECONDS, STARTUP

if TYPE_CHECKING:
    from grafana.source.metrics import Series

SERVICE = 'job="$service"'
COMPILED = f'{SERVICE},torch_compile_kind="compile",torch_compile_outcome!="failed"'
FAILED = f'{SERVICE},torch_compile_outcome="failed"'
LOADED = f'{SERVICE},torch_compile_kind="load",torch_compile_outcome!="failed"'
ENCODER = 'torch_compile_component="encoder"'
LANGUAGE_MODEL = 'torch_compile_component="language_model"'
OTHER = 'torch_compile_component="other"'
COMPONENTS = {"Encoder": ENCODER, "Language model": LANGUAGE_MODEL, "Other": OTHER}
"""Selectors by title."""
START = "compilespan_instance_id"
ANY = f'{START}=~".*"'
CHOSEN = f'{START}=~"$start"'
NO_ID = "()"
"""Selects processes without a start id: a regular expression that matches the empty string."""
_PROCESS = "job, instance"
_WORK = "compile|capture|load|import"


def with_resource(series: Series, labels: str, *resource: str, which: str = ANY) -> str:
    """Return the series with labels of the resource.

    Args:
        series: Metric to select.
        labels: Label matchers.
        resource: Labels of ``target_info`` to add besides the start.
        which: Label matcher that selects starts.

    If Prometheus promotes resource attributes, the series have these labels themselves and there
    may be no ``target_info``. If there is neither (a program with its own SDK), all processes form
    one start with an empty id. If two starts share an ``instance`` because one replaced the other
    less than five minutes ago, the newer one is used.
    """
    told = ", ".join((START, *resource))
    named = f'target_info{{{SERVICE},{START}!=""}}'
    chosen = f"{newest(named)} and {named[:-1]},{which}}}"
    return (
        f"({series(labels)} * on ({_PROCESS}) group_left ({told}) (({chosen}) ^ 0) "
        f"or ({series(f'{labels},{which}')} unless on ({_PROCESS}) {named}))"
    )


def newest(info: str) -> str:
    """Return the most recently written of these series for each process."""
    return f"topk by ({_PROCESS}) (1, timestamp({info}))"


def joined(series: Series, labels: str, *resource: str, which: str = ANY) -> str:
    """Return the last value of each series in the time range, with labels of the resource."""
    return f"last_over_time({with_resource(series, labels, *resource, which=which)}[$__range:1m])"


def of_start(series: Series, labels: str, *resource: str) -> str:
    """Return the last value of each series of the selected start in the time range."""
    return joined(series, labels, *resource, which=CHOSEN)


def by_start(
    series: Series, labels: str, *resource: str, how: str = "sum", which: str = ANY
) -> str:
    """Return one value per start."""
    kept = ", ".join((START, *resource))

    # Aggregate per process first: a process has hundreds of series, and the join is expensive.
    def of_process(labels: str = "", over: str = "") -> str:
        return f"{how} by ({_PROCESS}, {kept}) ({series(labels, over)})"

    return f"{how} by ({kept}) ({joined(of_process, labels, *resource, which=which)})"


def slowest_process(each: str) -> str:
    """Return the sum of the slowest process: the others wait for it."""
    return f"max(sum by ({_PROCESS}) ({each}))"


def added_up(each: str) -> str:
    """Return the sum over all processes if there is more than one."""
    return f"sum({each}) and on () count(count by ({_PROCESS}) ({each})) > 1"


def going_on(*component: str) -> str:
    """Return the age of the oldest compile in progress of each process."""
    labels = ",".join((SERVICE, *component))
    return f"({with_resource(AGE, labels, which=CHOSEN)} > 0)"


def with_what_goes_on(component: str) -> str:
    """Return the compile seconds of a component, including its oldest compile in progress.

    If the process was killed, the last reported age of that compile counts.
    """
    age = of_start(AGE, f"{SERVICE},{component}")
    return f"({of_start(SECONDS, f'{COMPILED},{component}')} or {age} > 0)"


def zero_where_nothing(expression: str) -> str:
    """Return ``expression``, or 0 if the processes of the start report but have no such series."""
    return f"{expression} or 0 * max({of_start(READY, SERVICE)})"


def part(*parts: str, component: str = "") -> str:
    """Return the seconds of these parts of the start, in its busiest process."""
    labels = f'{SERVICE},compilespan_startup_part=~"{"|".join(parts)}"{component}'
    return f"sum({of_start(PART, labels)} > 0 and on ({_PROCESS}) {_busiest()})"


def rest_of_start() -> str:
    """Return the remaining seconds until ready (or until now) that no other part accounts for."""
    whole = of_start(PART, SERVICE)
    ready = f"max({of_start(STARTUP, SERVICE)})"
    until = f"({ready} or sum({whole} and on ({_PROCESS}) {_busiest()}))"
    return f"clamp_min({until} - ({part(*_WORK.split('|'), 'wait')} or vector(0)), 0)"


def _busiest() -> str:
    """Return the process of the start with most compile and load time."""
    work = of_start(PART, f'{SERVICE},compilespan_startup_part=~"compile|capture|load"')
    any_part = of_start(PART, SERVICE)
    return f"topk(1, sum by ({_PROCESS}) ({work}) > 0 or on () sum by ({_PROCESS}) ({any_part}))"


def component_by_start(component: str, *resource: str) -> str:
    """Return the compile seconds of a component per start; 0 if only others compiled."""
    seconds = by_start(SECONDS, f"{COMPILED},{component}", *resource)
    return f"({seconds} or 0 * {by_start(SECONDS, COMPILED, *resource)})"


def is_cold(which: str = ANY) -> str:
    """Return the starts in which any graph missed the cache."""
    missed = by_start(GRAPHS, f'{SERVICE},torch_compile_cache_result="miss"', which=which)
    return f"({missed} > 0)"


def is_warm(which: str = ANY) -> str:
    """Return the starts with a cache hit or a loaded artefact, including cold ones."""
    hit = by_start(GRAPHS, f'{SERVICE},torch_compile_cache_result="hit"', which=which)
    return f"(({hit} > 0) or ({by_start(COUNT, LOADED, which=which)} > 0))"


def cold_and_warm(component: str) -> str:
    """Return the mean compile seconds per start by cache state and torch version.

    The cache states are those of ``/history``: cold, warm, no cache.
    """
    seconds = component_by_start(component, "torch_version")

    def mean(word: str, chosen: str) -> str:
        of = f"avg by (torch_version) ({seconds} {chosen})"
        named = f'label_replace({of}, "cache", "{word}", "", "")'
        return f'label_join({named}, "starts", " · torch ", "cache", "torch_version")'

    told = f"on ({START})"
    means = (
        mean("cold", f"and {told} {is_cold()}"),
        mean("warm", f"and {told} {is_warm()} unless {told} {is_cold()}"),
        mean("no cache", f"unless {told} {is_warm()} unless {told} {is_cold()}"),
    )
    return " or ".join(means)


def from_cache() -> str:
    """Return the share of cached graphs of the start; the label ``said`` is e.g. "1 of 3"."""
    hit = of_start(GRAPHS, f'{SERVICE},torch_compile_cache_result="hit"')
    hits = f"(sum({hit}) or vector(0))"
    cached = of_start(GRAPHS, f'{SERVICE},torch_compile_cache_result=~".+"')
    graphs = f"sum({cached})"
    told = (
        f'count_values("hits", {hits} and on () {graphs}) '
        f'* on () group_left (graphs) count_values("graphs", {graphs})'
    )
    joint = f'label_join({told}, "said", " of ", "hits", "graphs")'
    return f"{joint} * on () group_left () ({hits} / {graphs})"


def per_process() -> str:
    """Return the compile seconds of each process of the start with its rank."""
    told = ("job", "instance", "torch_distributed_rank")
    joint = of_start(SECONDS, COMPILED, "torch_distributed_rank")
    return f"sum by ({', '.join(told)}) ({joint})"


def behind_the_fastest(each: str) -> str:
    """Return for each value how much it exceeds the smallest."""
    # Rounded: the difference of the smallest to itself may be a floating-point error.
    return f"round({each} - on () group_left () min({each}), 0.000001)"
