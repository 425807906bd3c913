"""Starts that are made up: what their processes say in ten minutes, in promtool's notation."""

from __future__ import annotations

import re

MINUTES = 10
WHOLE = f"x{MINUTES}"
COMPILE = {
    "torch_compile_name": "CLIPVisionModel",
    "torch_compile_kind": "compile",
    "torch_compile_component": "encoder",
    "torch_compile_outcome": "ok",
}
FAILED = {"torch_compile_outcome": "failed", "error_type": "InductorError"}
OF_FAILURE = 'torch_compile_name="CLIPVisionModel",error_type="InductorError"'
MODEL = {"torch_compile_component": "language_model", "torch_compile_name": "Llama"}


def series(name, values, **labels):
    told = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return {"series": f"{name}{{{told}}}", "values": str(values)}


def values(notation):
    """Return what a series says each minute, from promtool's notation; ``None`` for nothing."""
    said = []
    for word in notation.split():
        first, step, times = re.fullmatch(r"(_|[\d.]+)([+-][\d.]+)?(?:x(\d+))?", word).groups()
        if first == "_":
            said += [None] * int(times or 1)
        else:
            said += [float(first) + float(step or 0) * n for n in range(int(times or 0) + 1)]
    return said


def together(processes):
    """Return the series of several processes; what has the same labels is one series."""
    found = {}
    for each in (one for process in processes for one in process.series):
        said = values(each["values"])
        before = found.setdefault(each["series"], [])
        before += [None] * (len(said) - len(before))
        for minute, value in enumerate(said):
            before[minute] = value if value is not None else before[minute]
    return [
        {"series": name, "values": " ".join("_" if v is None else str(v) for v in said)}
        for name, said in found.items()
    ]


class Process:
    """What one process says for ten minutes."""

    def __init__(self, instance="one", start="first", *, job="llava", began_s=0, lives=WHOLE):
        """``lives`` is for how long it repeats itself; without a start there is no target_info."""
        self.labels = {"job": job, "instance": instance}
        self._before = f"_x{began_s // 60} " if began_s else ""
        self._lives = lives
        resource = {"compilespan_instance_id": start, "torch_version": "2.13.0"}
        self.series = [
            self._of("compilespan_ready", 0),
            self._of("compilespan_startup_began_seconds", began_s),
            *([self._of("target_info", 1, **resource)] if start else []),
        ]

    def _of(self, name, value, said=None, **labels):
        said = said or f"{self._before}{value}{self._lives}"
        return series(name, said, **self.labels, **labels)

    def compiled(self, seconds, **labels):
        told = {**COMPILE, **labels}
        self.series += [
            self._of("torch_compile_duration_seconds_sum", seconds, **told),
            self._of("torch_compile_duration_seconds_count", 1, **told),
        ]
        return self

    def compiles_for(self, minutes, component="encoder", ended=0):
        """An age that grows to so many minutes, and was sent last so many minutes ago."""
        said = f"_x{MINUTES - minutes - ended} 0+60x{minutes}"
        labels = {"torch_compile_component": component}
        self.series.append(self._of("torch_compile_oldest_active_age_seconds", 0, said, **labels))
        return self

    def graphs(self, count, result):
        labels = {"torch_compile_component": "encoder", "torch_compile_cache_result": result}
        self.series.append(self._of("torch_compile_graphs_total", count, **labels))
        return self

    def parts(self, **seconds):
        for name, value in seconds.items():
            part, _, component = name.partition("_")
            labels = {"compilespan_startup_part": part}
            if component:
                labels["torch_compile_component"] = component
            self.series.append(
                self._of("compilespan_startup_part_duration_seconds", value, **labels)
            )
        return self

    def recompiled(self, count, changed, phase):
        labels = {
            "torch_compile_name": "LlamaModel",
            "torch_compile_component": "language_model",
            "torch_compile_phase": phase,
            "torch_compile_recompile_reason_class": changed,
        }
        self.series.append(self._of("torch_compile_recompiles_total", count, **labels))
        return self

    def stages(self, seconds, **shares):
        for stage, spent in seconds.items():
            for component, share in shares.items():
                labels = {"torch_compile_stage": stage, "torch_compile_component": component}
                name = "torch_compile_stage_time_seconds_total"
                self.series.append(self._of(name, spent * share, **labels))
        return self

    def ready(self, seconds):
        self.series[0] = self._of("compilespan_ready", 1)
        self.series.append(self._of("compilespan_startup_duration_seconds", seconds))
        return self


# An encoder has been compiling for five minutes, and nothing has ended yet.
COMPILING = Process().compiles_for(5).parts(**{"import": 4, "compile_encoder": 300})
# What compiled for two minutes was killed; it was seen last eight minutes ago.
KILLED = Process(lives="x2").compiles_for(2, ended=8)
# All seconds are exact binary fractions: Prometheus adds them up in any order.
READY = (
    Process()
    .compiled(14.75)
    .compiled(25.5, **MODEL)
    .compiles_for(0)
    .graphs(3, "miss")
    .parts(**{"boot": 0.5, "import": 2.25, "load": 1.5, "wait": 3, "other": 1.5})
    .parts(compile_encoder=14.75, compile_language_model=25.5)
    .ready(49)
)
# The second start of one service, ten minutes ago and five; the first has ended since.
COLD = Process("one", "cold", began_s=0, lives="x4").compiled(342.7).graphs(1, "miss").ready(400)
WARM = Process("two", "warm", began_s=300, lives="x5").compiled(3.5).graphs(1, "hit").ready(7)
WORKERS = [
    Process(f"worker-{number}").compiled(seconds).ready(seconds + 1)
    for number, seconds in enumerate((2.25, 0.5, 0.5, 0.25))
]


def slow():
    """Eleven minutes, most of them one compile of many; something to look at in each panel."""
    start = (
        Process()
        .compiled(141.2)
        .compiled(342.7, **MODEL)
        .compiled(12.4, torch_compile_component="other", torch_compile_name="Head")
        .compiles_for(0)
        .graphs(14, "miss")
        .graphs(2, "hit")
        .parts(**{"boot": 0.5, "import": 31.1, "load": 84, "other": 3.5})
        .parts(compile_encoder=141.2, compile_language_model=342.7, compile_other=12.4)
        .recompiled(3, "size", "warmup")
        .recompiled(1, "grad_mode", "serving")
        .ready(641)
    )
    whole = {"kernels": 330.8, "lower": 88.1, "trace": 31.5, "autograd": 22.2, "cache": 1.2}
    return start.stages(whole, encoder=0.3, language_model=0.7)
