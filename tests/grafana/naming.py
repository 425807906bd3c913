"""Names that OTLP metrics have in Prometheus 3, with its default translation strategy.

The rules are those of Prometheus' own otlptranslator: what no Prometheus name may have becomes an
underscore, the unit is spelled out and appended, a monotonic sum ends in ``_total``; a unit in
braces is an annotation and appended to nothing. Of the resource, ``service.name`` and
``service.instance.id`` become ``job`` and ``instance``, all else is on ``target_info``.
"""

from __future__ import annotations

import re
from importlib.resources import files

import yaml

UNITS = {"s": "seconds", "By": "bytes", "ms": "milliseconds"}
REGISTRY = yaml.safe_load(
    files("compilespan").joinpath("registry/compilespan.yaml").read_text("utf-8")
)["groups"]
# Labels that Prometheus gives itself.
PROMETHEUS_LABELS = {"job", "instance", "le"}


def label(attribute):
    return re.sub(r"\W", "_", attribute)


def metric(name, unit, *, monotonic):
    translated = re.sub(r"\W", "_", name)
    if unit in UNITS:
        translated += f"_{UNITS[unit]}"
    return translated + ("_total" if monotonic else "")


def series(group):
    """Return the names that a metric of the registry has in Prometheus."""
    name = metric(group["metric_name"], group["unit"], monotonic=group["instrument"] == "counter")
    if group["instrument"] == "histogram":
        # As a native histogram it is one series, under the name itself.
        return {f"{name}{suffix}" for suffix in ("", "_bucket", "_sum", "_count")}
    return {name}


def known_metrics():
    metrics = [group for group in REGISTRY if group["type"] == "metric"]
    return {"target_info"}.union(*map(series, metrics))


def known_labels():
    references = {
        reference["ref"]
        for group in REGISTRY
        if group["type"] in ("metric", "entity")
        for reference in group.get("attributes", ())
    }
    return PROMETHEUS_LABELS | set(map(label, references))


def known_attributes(kind):
    """Return what spans, events or the resource may carry."""
    return {
        reference["ref"]
        for group in REGISTRY
        if group["type"] == kind
        for reference in group.get("attributes", ())
    }
