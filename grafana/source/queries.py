"""PromQL of the dashboards: what is selected, and how a series finds its process's resource.

Compiles happen before the first scrape, so a counter's first value is all there ever is: nothing
here takes a ``rate``. What a process last said is shown as it is, also when it has ended since.

What a process is (start, torch, rank) is on ``target_info``, which both ways to Prometheus write,
its OTLP receiver and a scrape of ``/metrics``. The subquery joins before it looks back: a server
that is scraped keeps its ``instance`` over restarts, and has one ``target_info`` after the other.
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
"""What is chosen of processes that name no start: a regular expression of nothing."""
_PROCESS = "job, instance"
_WORK = "compile|capture|load|import"


def with_resource(series: Series, labels: str, *resource: str, which: str = ANY) -> str:
    """Return the series with labels of their process's resource.

    Args:
        series: Of a metric.
        labels: Its selector.
        resource: Labels of ``target_info`` to add; the start is always there.
        which: A selector of starts.

    A Prometheus that was told to promote resource attributes may write no ``target_info``: there
    the series have the labels themselves. Where there is neither, as with a program's own SDK, all
    are one start with an empty name. Of two starts that have the same instance (one follows the
    other, and what was sent is seen for five minutes) the later one counts.
    """
    told = ", ".join((START, *resource))
    named = f'target_info{{{SERVICE},{START}!=""}}'
    chosen = f"{newest(named)} and {named[:-1]},{which}}}"
    return (
        f"({series(labels)} * on ({_PROCESS}) group_left ({told}) (({chosen}) ^ 0) "
        f"or ({series(f'{labels},{which}')} unless on ({_PROCESS}) {named}))"
    )


def newest(info: str) -> str:
    """Return of each process the series that was written last."""
    return f"topk by ({_PROCESS}) (1, timestamp({info}))"


def joined(series: Series, labels: str, *resource: str, which: str = ANY) -> str:
    """Return what each series said last in the time range, with labels of its resource."""
    return f"last_over_time({with_resource(series, labels, *resource, which=which)}[$__range:1m])"


def of_start(series: Series, labels: str, *resource: str) -> str:
    """Return what each series of the chosen start said last in the time range."""
    return joined(series, labels, *resource, which=CHOSEN)


def by_start(
    series: Series, labels: str, *resource: str, how: str = "sum", which: str = ANY
) -> str:
    """Return a value for each start."""
    kept = ", ".join((START, *resource))

    # Of each process first: a process has hundreds of series, and the join is what takes time.
    def of_process(labels: str = "", over: str = "") -> str:
        return f"{how} by ({_PROCESS}, {kept}) ({series(labels, over)})"

    return f"{how} by ({kept}) ({joined(of_process, labels, *resource, which=which)})"


def slowest_process(each: str) -> str:
    """Return the sum over the series of the process where it is greatest: for it one waits."""
    return f"max(sum by ({_PROCESS}) ({each}))"


def added_up(each: str) -> str:
    """Return the sum over all processes, if there are several."""
    return f"sum({each}) and on () count(count by ({_PROCESS}) ({each})) > 1"


def going_on(*component: str) -> str:
    """Return for how long the oldest compile of each process has been going on, where one is."""
    labels = ",".join((SERVICE, *component))
    return f"({with_resource(AGE, labels, which=CHOSEN)} > 0)"


def with_what_goes_on(component: str) -> str:
    """Return the compile seconds of a component, those of its oldest compile in progress, too.

    That of a process that was killed is the age at which it was seen last.
    """
    age = of_start(AGE, f"{SERVICE},{component}")
    return f"({of_start(SECONDS, f'{COMPILED},{component}')} or {age} > 0)"


def zero_where_nothing(expression: str) -> str:
    """Return ``expression``, or 0 where the start's processes report and have counted nothing."""
    return f"{expression} or 0 * max({of_start(READY, SERVICE)})"


def part(*parts: str, component: str = "") -> str:
    """Return seconds of the start that went into these parts, in the process that did most."""
    labels = f'{SERVICE},compilespan_startup_part=~"{"|".join(parts)}"{component}'
    return f"sum({of_start(PART, labels)} and on ({_PROCESS}) {_busiest()})"


def rest_of_start() -> str:
    """Return the seconds to ready, or until now, that `part` has in no part of work or waiting."""
    whole = of_start(PART, SERVICE)
    ready = f"max({of_start(STARTUP, SERVICE)})"
    until = f"({ready} or sum({whole} and on ({_PROCESS}) {_busiest()}))"
    return f"clamp_min({until} - ({part(*_WORK.split('|'), 'wait')} or vector(0)), 0)"


def _busiest() -> str:
    """Return the process of the start that compiled and loaded for longest."""
    work = of_start(PART, f'{SERVICE},compilespan_startup_part=~"compile|capture|load"')
    any_part = of_start(PART, SERVICE)
    return f"topk(1, sum by ({_PROCESS}) ({work}) > 0 or on () sum by ({_PROCESS}) ({any_part}))"


def component_by_start(component: str, *resource: str) -> str:
    """Return a component's compile seconds for each start: 0 where only the other compiled."""
    seconds = by_start(SECONDS, f"{COMPILED},{component}", *resource)
    return f"({seconds} or 0 * {by_start(SECONDS, COMPILED, *resource)})"


def is_cold(which: str = ANY) -> str:
    """Return the starts in which any graph missed the cache."""
    missed = by_start(GRAPHS, f'{SERVICE},torch_compile_cache_result="miss"', which=which)
    return f"({missed} > 0)"


def is_warm(which: str = ANY) -> str:
    """Return the starts in which a cache or an artefact had anything; cold ones among them."""
    hit = by_start(GRAPHS, f'{SERVICE},torch_compile_cache_result="hit"', which=which)
    return f"(({hit} > 0) or ({by_start(COUNT, LOADED, which=which)} > 0))"


def cold_and_warm(component: str) -> str:
    """Return the mean compile seconds of starts by what caches were worth, and by torch.

    The words are those of ``/history``: cold, warm, no cache.
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
    """Return the share of the start's graphs that came from the cache, with ``said``: "1 of 3"."""
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
    """Return the compile seconds of each process of the start, with its rank."""
    told = ("job", "instance", "torch_distributed_rank")
    joint = of_start(SECONDS, COMPILED, "torch_distributed_rank")
    return f"sum by ({', '.join(told)}) ({joint})"


def behind_the_fastest(each: str) -> str:
    """Return how many seconds each is behind the one that took least."""
    # The fastest is behind itself by a rounding error.
    return f"round({each} - on () group_left () min({each}), 0.000001)"
