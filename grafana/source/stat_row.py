"""The stat row: the answer before anything else."""

from __future__ import annotations

from grafana.source.panels import (
    ENCODER_COLOUR,
    LANGUAGE_MODEL_COLOUR,
    NOTHING,
    OTHER_COLOUR,
    Json,
    stat,
)
from grafana.source.queries import (
    ENCODER,
    LANGUAGE_MODEL,
    OTHER,
    PROCESS,
    STARTUP,
    compile_seconds,
    hit_ratio,
    last,
    recompiles_while_serving,
    zero_where_nothing,
)


def stat_row() -> list[tuple[Json, int]]:
    """Return the row."""
    encoder, model = compile_seconds(ENCODER), compile_seconds(LANGUAGE_MODEL)
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
            4,
        ),
        (
            stat(
                "Encoder",
                "Seconds of compile work for encoders, of all processes selected; failed compiles "
                "and loads left out. `torch.compile.duration`, its sum.",
                f"sum({encoder})",
                unit="s",
                no_value=NOTHING,
                colour=ENCODER_COLOUR,
            ),
            3,
        ),
        (
            stat(
                "Language model",
                "Seconds of compile work for language models, of all processes selected; failed "
                "compiles and loads left out. `torch.compile.duration`, its sum.",
                f"sum({model})",
                unit="s",
                no_value=NOTHING,
                colour=LANGUAGE_MODEL_COLOUR,
            ),
            3,
        ),
        (
            stat(
                "Other",
                "Seconds of compile work for what is neither encoder nor language model, of all "
                "processes selected; failed compiles and loads left out. "
                "`torch.compile.duration`, its sum.",
                f"sum({compile_seconds(OTHER)})",
                unit="s",
                no_value=NOTHING,
                colour=OTHER_COLOUR,
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
            4,
        ),
        (
            stat(
                "Compiling now",
                "Compiles in progress. `torch.compile.active_compiles`.",
                f"sum(torch_compile_active_compiles{{{PROCESS}}})",
                unit="short",
                no_value="No process reports",
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
            4,
        ),
    ]
