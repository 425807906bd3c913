"""A real Prometheus, and OTLP metrics in its database under the names that Prometheus 3 gives."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time

import httpx
import naming
import pytest
from receiver import value_of
from server import free_port

PROMETHEUS = shutil.which("prometheus")
PROMTOOL = shutil.which("promtool")

needs_prometheus = pytest.mark.skipif(
    (PROMETHEUS is None or PROMTOOL is None) and os.environ.get("CI") != "true",
    reason="Prometheus is not installed (Debian: apt install prometheus)",
)


class Prometheus:
    """Runs while it is entered."""

    def __init__(self, directory, targets=()):
        self._directory = directory
        self.port = free_port()
        (directory / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s}\n"
            "scrape_configs:\n"
            "  - job_name: compilespan\n"
            f"    static_configs: [{{targets: {list(targets)}}}]\n"
        )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    def __enter__(self):
        with (self._directory / "log").open("w") as log:
            self._process = subprocess.Popen(
                [
                    PROMETHEUS,
                    f"--config.file={self._directory}/prometheus.yml",
                    f"--storage.tsdb.path={self._directory}/data",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--web.enable-remote-write-receiver",
                    "--enable-feature=native-histograms",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + 60
        while not self._is_ready():
            assert self._process.poll() is None, (self._directory / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        self.client.close()
        self._process.terminate()
        self._process.wait(20)

    def _is_ready(self):
        try:
            return self.client.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def query(self, expression, at_s):
        """Return the samples of an instant query, as (labels, value)."""
        answer = self.client.get("/api/v1/query", params={"query": expression, "time": at_s}).json()
        assert answer["status"] == "success", answer
        return [(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]

    def query_range(self, expression, from_s, to_s):
        """Return the series of a range query."""
        span = {"query": expression, "start": from_s, "end": to_s, "step": 5}
        answer = self.client.get("/api/v1/query_range", params=span).json()
        assert answer["status"] == "success", answer
        return answer["data"]["result"]


def write_blocks(requests, directory, *, promoted=False):
    """Write metrics that came over OTLP into blocks of a database of Prometheus.

    ``promoted``: the resource's attributes are labels of each series, and there is no target_info.
    """
    samples = {}  # by series and time, since a database takes a series in the order of time
    for request in requests:
        for series, time_s, value in openmetrics(request, promoted):
            samples[series, time_s] = value
    source = directory / "metrics.om"
    lines = [f"{series} {samples[series, time_s]} {time_s}" for series, time_s in sorted(samples)]
    source.write_text("\n".join([*lines, "# EOF\n"]))
    done = subprocess.run(
        [PROMTOOL, "tsdb", "create-blocks-from", "openmetrics", source, directory / "data"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def openmetrics(request, promoted, histograms=None):
    """Yield the samples of an OTLP export, as OpenMetrics has series, time and value.

    ``histograms`` turns an exponential histogram into a value.
    """
    for each in request.resource_metrics:
        resource = {one.key: value_of(one.value) for one in each.resource.attributes}
        common = {
            "job": resource.pop("service.name"),
            "instance": resource.pop("service.instance.id"),
        }
        told = {naming.label(key): value for key, value in resource.items()}
        if promoted:
            common |= told
        newest = 0
        for metric in (metric for scope in each.scope_metrics for metric in scope.metrics):
            data = getattr(metric, metric.WhichOneof("data"))
            monotonic = getattr(data, "is_monotonic", False)
            name = naming.metric(metric.name, metric.unit, monotonic=monotonic)
            for point in data.data_points:
                labels = {**_labels(point.attributes), **common}
                newest = max(newest, point.time_unix_nano)
                for suffix, more, value in _samples(point, histograms):
                    series = _series(name + suffix, {**labels, **more})
                    yield series, _seconds(point.time_unix_nano), value
        if newest and not promoted:
            yield _series("target_info", {**told, **common}), _seconds(newest), 1


def _samples(point, histograms):
    if hasattr(point, "zero_count"):
        yield "", {}, histograms(point)
        return
    if not hasattr(point, "bucket_counts"):
        yield "", {}, getattr(point, point.WhichOneof("value"))
        return
    yield "_sum", {}, point.sum
    yield "_count", {}, point.count
    below = 0
    for bound, count in zip([*point.explicit_bounds, "+Inf"], point.bucket_counts, strict=True):
        below += count
        yield "_bucket", {"le": bound}, below


def _labels(attributes):
    return {naming.label(each.key): value_of(each.value) for each in attributes}


def _series(name, labels):
    shown = {key: str(v).lower() if isinstance(v, bool) else str(v) for key, v in labels.items()}
    inside = ",".join(f'{key}="{text}"' for key, text in sorted(shown.items()))
    return f"{name}{{{inside}}}"


def series_of(text):
    """Return name and labels of a series as `openmetrics` writes it."""
    name, _, inside = text.partition("{")
    return name, dict(re.findall(r'(\w+)="([^"]*)"', inside))


def _seconds(time_ns):
    return f"{time_ns / 1e9:.3f}"
