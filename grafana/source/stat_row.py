"""The stat row: the answer before anything else, also while it is still compiling."""

from __future__ import annotations

from grafana.source.panels import (
    ENCODER_COLOUR,
    FAILED_COLOUR,
    LANGUAGE_MODEL_COLOUR,
    NOTHING,
    OTHER_COLOUR,
    Json,
    stat,
)
from grafana.source.queries import (
    COMPONENTS,
    PROCESS,
    STARTUP,
    failed_seconds,
    going_on,
    hit_ratio,
    last,
    recompiles_while_serving,
    with_what_goes_on,
    zero_where_nothing,
)

_COLOURS = {
    "Encoder": ENCODER_COLOUR,
    "Language model": LANGUAGE_MODEL_COLOUR,
    "Other": OTHER_COLOUR,
}


def stat_row() -> list[tuple[Json, int]]:
    """Return the row."""
    return [
        (
            stat(
                "Time to ready",
                "From the creation of the process to ready, of the slowest process selected. "
                "`compilespan.startup.duration`.",
                f"max({last(STARTUP, PROCESS)})",
                unit="s",
                no_value="Not ready yet",
            ),
            3,
        ),
        (
            stat(
                "Compiling now, for",
                "For how long the oldest compile in progress has been going on. "
                "`torch.compile.oldest_active_age`.",
                f"max({going_on()})",
                unit="s",
                no_value="Nothing compiles now",
            ),
            3,
        ),
        *((_component(title, selector), 3) for title, selector in COMPONENTS.items()),
        (
            stat(
                "Failed",
                "Seconds of compiles and loads that failed; they are in no other number here. "
                "`torch.compile.duration`, its sum, outcome `failed`.",
                f"sum({failed_seconds()})",
                unit="s",
                no_value="None failed",
                colour=FAILED_COLOUR,
            ),
            3,
        ),
        (
            stat(
                "Loaded from cache",
                "Share of the graphs whose backend has a cache that came from it. "
                "`torch.compile.graphs` by `torch.compile.cache.result`.",
                hit_ratio(PROCESS),
                unit="percentunit",
                no_value="No backend with a cache",
            ),
            3,
        ),
        (
            stat(
                "Recompiles while serving",
                "Frames compiled again after ready: each delayed a request. "
                "`torch.compile.recompiles`, phase `serving`.",
                zero_where_nothing(f"sum({recompiles_while_serving()})"),
                unit="short",
                no_value="No process reports",
            ),
            3,
        ),
    ]


def _component(title: str, selector: str) -> Json:
    what = {
        "Encoder": "encoders",
        "Language model": "language models",
        "Other": "what is neither encoder nor language model",
    }[title]
    return stat(
        title,
        f"Seconds of compile work for {what}, of all processes selected, what goes on included; "
        "failed compiles and loads left out. `torch.compile.duration`, its sum; "
        "`torch.compile.oldest_active_age`.",
        f"sum({with_what_goes_on(selector)})",
        unit="s",
        no_value=NOTHING,
        colour=_COLOURS[title],
    )
