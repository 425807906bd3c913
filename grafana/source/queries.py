"""PromQL of the dashboards: what is selected, and how a series finds its process's resource.

Compiles happen before the first scrape, so a counter's first value is all there ever is: nothing
here takes a ``rate``. What a process last said is shown as it is, also when it has ended since.

What a process is (start, torch, rank) is on ``target_info``, which both ways to Prometheus write,
its OTLP receiver and a scrape of ``/metrics``. The subquery joins before it looks back: a server
that is scraped keeps its ``instance`` over restarts, and has one ``target_info`` after the other.
"""

from __future__ import annotations

PROCESS = 'job=~"$service",instance=~"$instance"'
NAMED = f'{PROCESS},torch_compile_name=~"$name"'
COMPILED = f'{NAMED},torch_compile_kind="compile",torch_compile_outcome!="failed"'
ENCODER = 'torch_compile_component="encoder"'
LANGUAGE_MODEL = 'torch_compile_component="language_model"'
OTHER = 'torch_compile_component="other"'
COMPONENTS = {"Encoder": ENCODER, "Language model": LANGUAGE_MODEL, "Other": OTHER}
"""Selectors by title."""
START = "compilespan_instance_id"

SECONDS = "torch_compile_duration_seconds_sum"
COUNT = "torch_compile_duration_seconds_count"
BUCKETS = "torch_compile_duration_seconds_bucket"
GRAPHS = "torch_compile_graphs_total"
STARTUP = "compilespan_startup_duration_seconds"
PART = "compilespan_startup_part_duration_seconds"


def last(metric: str, labels: str) -> str:
    """Return what each series of ``metric`` said last in the time range."""
    return f"last_over_time({metric}{{{labels}}}[$__range])"


def compile_seconds(component: str) -> str:
    """Return the compile seconds of a component, a series for each process and name."""
    return last(SECONDS, f"{COMPILED},{component}")


def with_what_goes_on(component: str) -> str:
    """Return the compile seconds of a component, those of its oldest compile in progress, too."""
    return f"({compile_seconds(component)} or {going_on(component)})"


def going_on(component: str = "") -> str:
    """Return for how long the oldest compile of each process has been going on, where one is."""
    labels = f"{PROCESS},{component}" if component else PROCESS
    return f"torch_compile_oldest_active_age_seconds{{{labels}}} > 0"


def failed_seconds() -> str:
    """Return the seconds of compiles and loads that failed."""
    return last(SECONDS, f'{NAMED},torch_compile_outcome="failed"')


def recompiles_while_serving() -> str:
    """Return how many frames were compiled again after ready, a series for each reason."""
    return last("torch_compile_recompiles_total", f'{NAMED},torch_compile_phase="serving"')


def with_resource(metric: str, labels: str, *resource: str, start: str = ".*") -> str:
    """Return the series with labels of their process's resource.

    Args:
        metric: Its name.
        labels: Its selector.
        resource: Labels of ``target_info`` to add; the start is always there.
        start: A regular expression of starts.

    A Prometheus that was told to promote resource attributes may write no ``target_info``: there
    the series have the labels themselves. One that does neither has one start with an empty name.
    """
    told = ", ".join((START, *resource))
    return (
        f"({metric}{{{labels}}} * on (job, instance) group_left ({told}) "
        f'target_info{{{START}!="",{START}=~"{start}"}} '
        f'or on (job, instance) {metric}{{{labels},{START}=~"{start}"}})'
    )


def joined(metric: str, labels: str, *resource: str, start: str = ".*") -> str:
    """Return what each series said last in the time range, with labels of its resource."""
    return f"last_over_time({with_resource(metric, labels, *resource, start=start)}[$__range:1m])"


def by_start(
    metric: str, labels: str, *resource: str, also: tuple[str, ...] = (), how: str = "sum"
) -> str:
    """Return a value for each start; ``also`` are labels of the series themselves to keep."""
    kept = ", ".join((START, *also, *resource))
    return f"{how} by ({kept}) ({joined(metric, labels, *resource)})"


def component_by_start(component: str, *resource: str) -> str:
    """Return a component's compile seconds for each start: 0 where only the other compiled."""
    seconds = by_start(SECONDS, f"{COMPILED},{component}", *resource)
    return f"({seconds} or 0 * {by_start(SECONDS, COMPILED, *resource)})"


def zero_where_nothing(expression: str) -> str:
    """Return ``expression``, or 0 where processes report and it has no series yet."""
    return f"{expression} or 0 * max({last('compilespan_ready', PROCESS)})"


def is_cold() -> str:
    """Return the starts in which any graph missed the cache."""
    missed = by_start(GRAPHS, f'{PROCESS},torch_compile_cache_result="miss"')
    return f"({missed} > 0)"


def is_warm() -> str:
    """Return the starts in which a cache or an artefact had anything; cold ones among them."""
    hit = by_start(GRAPHS, f'{PROCESS},torch_compile_cache_result="hit"')
    labels = f'{PROCESS},torch_compile_kind="load",torch_compile_outcome!="failed"'
    return f"(({hit} > 0) or ({by_start(COUNT, labels)} > 0))"


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


def began() -> str:
    """Return when each start was first seen, in milliseconds since the epoch."""
    ready = with_resource("compilespan_ready", PROCESS)
    return f"1000 * min by ({START}) (min_over_time(timestamp({ready})[$__range:1m]))"


def hit_ratio(labels: str) -> str:
    """Return the share of graphs that came from the cache, of those whose backend has one."""
    hits = last(GRAPHS, f'{labels},torch_compile_cache_result="hit"')
    graphs = last(GRAPHS, f'{labels},torch_compile_cache_result=~".+"')
    return f"(sum({hits}) or vector(0)) / sum({graphs})"


def per_process() -> str:
    """Return the compile seconds of each process, with its start and rank."""
    told = (START, "job", "instance", "torch_distributed_rank")
    joint = joined(SECONDS, COMPILED, "torch_distributed_rank")
    return f"sum by ({', '.join(told)}) ({joint})"


def behind_the_fastest(group: str) -> str:
    """Return how many seconds each process was behind the fastest of its ``group``."""
    each = per_process()
    # The fastest is behind itself by a rounding error.
    return f"round({each} - on ({group}) group_left min by ({group}) ({each}), 0.000001)"
