"""Compose file, image, and what the services are configured with: do they fit each other?"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from boards import GRAFANA
from prometheus import PROMTOOL, needs_prometheus

ROOT = GRAFANA.parent
HERE = Path(__file__).parent
BIN = Path(sysconfig.get_path("scripts"))
COLLECTOR = yaml.safe_load((GRAFANA / "collector.yml").read_text("utf-8"))
TEMPO = yaml.safe_load((GRAFANA / "tempo.yml").read_text("utf-8"))
LOKI = yaml.safe_load((GRAFANA / "loki.yml").read_text("utf-8"))
PROMETHEUS = yaml.safe_load((GRAFANA / "prometheus.yml").read_text("utf-8"))
DATASOURCES = yaml.safe_load(
    (GRAFANA / "provisioning/datasources/compilespan.yml").read_text("utf-8")
)["datasources"]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")

# Of the contrib distribution's manifest, what a stack like this one may use:
# github.com/open-telemetry/opentelemetry-collector-releases, distributions/otelcol-contrib.
CONTRIB = {
    "receivers": {"nop", "otlp", "prometheus"},
    "processors": {"attributes", "batch", "filter", "memory_limiter", "resource", "transform"},
    "exporters": {
        "debug",
        "file",
        "nop",
        "otlp",
        "otlphttp",
        "prometheus",
        "prometheusremotewrite",
    },
    "extensions": {"health_check", "pprof", "zpages"},
    "connectors": {"count", "forward", "spanmetrics"},
}
# Their images hold one program and no shell, so that nothing can ask in there.
NO_SHELL = {"collector", "tempo", "loki"}
LISTENS = {"prometheus": 9090, "grafana": 3000}  # where nothing says otherwise


def run(tool, *arguments, cwd=ROOT):
    """Run a tool; return what it wrote, which is the complaint where it failed."""
    done = subprocess.run(
        [tool, *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def compose(*profiles):
    """Return the services as Compose reads them."""
    chosen = [argument for profile in profiles for argument in ("--profile", profile)]
    return json.loads(run(BIN / "docker-compose", *chosen, "config", "--format", "json"))


@pytest.fixture(scope="module")
def services():
    return compose("sidecar")["services"]


def ports_of(name, services):
    """Return the ports that a service listens on, by its own configuration."""
    if name == "collector":
        protocols = COLLECTOR["receivers"]["otlp"]["protocols"].values()
        reader = COLLECTOR["service"]["telemetry"]["metrics"]["readers"][0]["pull"]
        return {
            *(int(each["endpoint"].rpartition(":")[2]) for each in protocols),
            reader["exporter"]["prometheus"]["port"],
        }
    if name == "tempo":
        otlp = TEMPO["distributor"]["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"]
        return {TEMPO["server"]["http_listen_port"], int(otlp.rpartition(":")[2])}
    if name == "loki":
        return {LOKI["server"]["http_listen_port"]}
    if name in LISTENS:
        return {LISTENS[name]}
    words = services[name].get("entrypoint") or []
    return {int(words[words.index("--port") + 1]) if "--port" in words else 8000}


def test_compose_reads_it_and_the_sidecar_is_a_profile_of_its_own():
    default = set(compose()["services"])
    assert default == {"compilespan", "collector", "tempo", "loki", "prometheus", "grafana"}
    assert set(compose("sidecar")["services"]) == default | {"inference", "sidecar"}


def test_images_are_pinned(services):
    for name, service in services.items():
        _, _, tag = service["image"].rpartition(":")
        assert re.fullmatch(r"v?\d+\.\d+\.\d+|local", tag), name
        assert (tag == "local") == ("build" in service)
    schema = json.loads((HERE / "package.json").read_text())["devDependencies"]["@grafana/schema"]
    assert services["grafana"]["image"] == f"grafana/grafana:{schema}"  # what is type-checked


def test_nothing_is_open_to_the_network(services):
    for name, service in services.items():
        for port in service.get("ports", ()):
            assert port["host_ip"] == "127.0.0.1", name
            assert port["target"] in ports_of(name, services), name
        for variable, value in (service.get("environment") or {}).items():
            assert not re.search("PASSWORD|SECRET|TOKEN", variable) or value is None, variable
    grafana = services["grafana"]["environment"]
    assert grafana["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert grafana["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"


def test_each_service_is_asked_whether_it_is_well(services):
    scraped = {
        target.rpartition(":")[0]
        for job in PROMETHEUS["scrape_configs"]
        for target in job["static_configs"][0]["targets"]
    }
    for name, service in services.items():
        assert "healthcheck" in service or "build" in service or name in NO_SHELL & scraped, name
    assert "HEALTHCHECK" in DOCKERFILE
    assert "/livez" in DOCKERFILE.partition("HEALTHCHECK")[2]


def test_ours_have_time_to_flush(services):
    for name in ("compilespan", "inference", "sidecar"):
        assert services[name]["stop_grace_period"] == "20s"


def test_endpoints_are_where_something_listens(services):
    """Of ours and of the collector, of what Grafana shows and what Prometheus scrapes."""
    urls = [
        *(
            services[name]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"]
            for name in ("compilespan", "inference", "sidecar")
        ),
        services["sidecar"]["environment"]["INFERENCE_URL"],
        *(each["url"] for each in DATASOURCES),
        *(
            each["endpoint"] if "://" in each["endpoint"] else f"grpc://{each['endpoint']}"
            for each in COLLECTOR["exporters"].values()
        ),
        *(
            f"http://{target.replace('localhost', job['job_name'])}"
            for job in PROMETHEUS["scrape_configs"]
            for target in job["static_configs"][0]["targets"]
        ),
    ]
    assert len(urls) == 15
    for url in urls:
        parts = urlsplit(url)
        assert parts.port in ports_of(parts.hostname, services), url
    for name in ("compilespan", "inference", "sidecar"):
        assert services[name]["environment"]["OTEL_EXPORTER_OTLP_PROTOCOL"] == "grpc"
        endpoint = services[name]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"]
        grpc = COLLECTOR["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"]
        assert endpoint.rpartition(":")[2] == grpc.rpartition(":")[2]


def test_each_port_of_the_collector_is_published_or_asked(services):
    published = {port["target"] for port in services["collector"]["ports"]}
    asked = {
        int(target.rpartition(":")[2])
        for job in PROMETHEUS["scrape_configs"]
        for target in job["static_configs"][0]["targets"]
        if job["job_name"] == "collector"
    }
    listens = set(map(int, re.findall(r"0\.0\.0\.0:(\d+)", json.dumps(COLLECTOR)))) | asked
    assert listens == ports_of("collector", services) == published | asked


def test_the_collector_holds_components_of_its_distribution():
    used = {kind: set() for kind in CONTRIB}
    for kind, known in CONTRIB.items():
        for component in COLLECTOR.get(kind, ()):
            assert component.partition("/")[0] in known, component
    for pipeline in COLLECTOR["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            used[kind] |= set(pipeline.get(kind, ()))
    used["extensions"] = set(COLLECTOR["service"].get("extensions", ()))
    for kind, names in used.items():
        assert names == set(COLLECTOR.get(kind, ())), f"{kind} that no pipeline uses, or unknown"


def test_prometheus_takes_what_the_collector_sends(services):
    command = services["prometheus"]["command"]
    assert COLLECTOR["exporters"]["otlphttp/prometheus"]["endpoint"].endswith("/api/v1/otlp")
    assert "--web.enable-otlp-receiver" in command
    assert "--enable-feature=exemplar-storage" in command
    retention = next(each for each in command if "retention.time" in each)
    assert int(re.search(r"=(\d+)d", retention)[1]) >= 7  # what alerts look back on
    (exemplars,) = DATASOURCES[0]["jsonData"]["exemplarTraceIdDestinations"]
    # An anonymous Viewer cannot open Explore: a diamond leads to the dashboard that shows a trace.
    assert exemplars["name"] == "trace_id"
    assert exemplars["url"] == "/d/compilespan-slow-start?var-trace=$${__value.raw}"


def test_events_reach_loki_as_logs(services):
    """They would vanish without a pipeline."""
    for name in ("compilespan", "inference", "sidecar"):
        assert services[name]["environment"]["COMPILESPAN_EVENTS"] == "both"
    assert COLLECTOR["service"]["pipelines"]["logs"]["exporters"] == ["otlphttp/loki"]
    assert COLLECTOR["exporters"]["otlphttp/loki"]["endpoint"].endswith("/otlp")
    assert LOKI["limits_config"]["allow_structured_metadata"]
    assert all(each["schema"] == "v13" for each in LOKI["schema_config"]["configs"])


def test_from_a_span_to_its_logs_and_from_a_log_to_its_trace():
    sources = {each["uid"]: each["jsonData"] for each in DATASOURCES}
    to_logs = sources["tempo"]["tracesToLogsV2"]
    assert to_logs["datasourceUid"] == "loki"
    assert "$${__span.spanId}" in to_logs["query"]
    (trace,) = sources["loki"]["derivedFields"]
    assert (trace["matcherType"], trace["matcherRegex"]) == ("label", "trace_id")
    assert trace["url"] == "/d/compilespan-slow-start?var-trace=$${__value.raw}"
    assert sources["tempo"]["spanBar"] == {"type": "Tag", "tag": "torch.compile.component"}


def test_what_is_kept_is_kept_alike_long(services):
    (retention,) = [
        re.search(r"retention.time=(\d+)d", each)[1]
        for each in services["prometheus"]["command"]
        if "retention.time" in each
    ]
    hours = f"{24 * int(retention)}h"
    assert TEMPO["compactor"]["compaction"]["block_retention"] == hours
    assert LOKI["limits_config"]["retention_period"] == hours
    assert LOKI["compactor"]["retention_enabled"]


def test_what_is_mounted_is_there_and_where_it_is_looked_for(services):
    mounts = {}
    for name, service in services.items():
        for volume in service.get("volumes", ()):
            if volume["type"] == "bind":
                assert Path(volume["source"]).exists(), volume["source"]
                assert volume["read_only"]
                mounts[name, volume["target"]] = Path(volume["source"])
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    folder, _, file = home.rpartition("/")
    assert (mounts["grafana", folder] / file).is_file()
    provider = yaml.safe_load(
        (GRAFANA / "provisioning/dashboards/compilespan.yml").read_text("utf-8")
    )["providers"][0]
    assert provider["options"]["path"] == folder
    (rules,) = PROMETHEUS["rule_files"]
    folder, _, pattern = rules.rpartition("/")
    assert list(mounts["prometheus", folder].glob(pattern))
    for name, option in (
        ("collector", "--config="),
        ("prometheus", "--config.file="),
        ("tempo", "-config.file="),
        ("loki", "-config.file="),
    ):
        (config,) = [each for each in services[name]["command"] if each.startswith(option)]
        assert (name, config.removeprefix(option)) in mounts


def test_caches_and_journals_outlive_the_container(services):
    volumes = re.search(r"^VOLUME (.*)$", DOCKERFILE, re.MULTILINE)[1]
    for name in ("compilespan", "inference"):
        targets = {each["target"] for each in services[name]["volumes"] if each["type"] == "volume"}
        assert targets == set(json.loads(volumes))
    environment = dict(re.findall(r"(\w+)=(/\S+)", DOCKERFILE))
    for variable in ("TORCHINDUCTOR_CACHE_DIR", "COMPILESPAN_STATE_DIR"):
        assert environment[variable].startswith(tuple(json.loads(volumes)))
    state = [
        [
            each["source"]
            for each in services[name]["volumes"]
            if each["target"] == "/var/lib/compilespan"
        ]
        for name in ("inference", "sidecar")
    ]
    assert state[0] == state[1] != []  # the sidecar reads the server's journals


def test_the_image_is_small_and_no_root():
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(stages) == 2
    assert "slim" in re.search(r"^ARG PYTHON=(.*)$", DOCKERFILE, re.MULTILINE)[1]
    assert "g++" in DOCKERFILE.rpartition("FROM")[2]
    users = re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)
    assert users[-1].isdecimal()
    assert users[-1] != "0"
    let_in = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    assert {path for paths in copied for path in paths.split()} == let_in
    assert all((ROOT / path).exists() for path in let_in)


def test_hadolint_finds_nothing():
    assert run(BIN / "hadolint", "Dockerfile") == ""


def test_yamllint_finds_nothing():
    files = ["docker-compose.yml", "grafana", "tests/grafana/alerts_test.yml"]
    registry = "instrumentation/compilespan/registry/compilespan.yaml"
    assert run(BIN / "yamllint", "--strict", *files, registry) == ""


@needs_prometheus
def test_promtool_takes_the_configuration(tmp_path):
    """With the rules where the container has them."""
    text = (GRAFANA / "prometheus.yml").read_text("utf-8")
    shutil.copytree(GRAFANA / "alerts", tmp_path / "alerts")
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus/alerts", "alerts"))
    assert "1 rule files found" in run(PROMTOOL, "check", "config", tmp_path / "prometheus.yml")


def test_every_service_has_a_limit_and_gains_no_rights(services):
    for name, service in services.items():
        assert int(service["mem_limit"]) >= 256 * 1024**2, name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_the_collector_refuses_before_the_kernel_ends_it():
    for name, pipeline in COLLECTOR["service"]["pipelines"].items():
        assert pipeline["processors"][0] == "memory_limiter", name
    limiter = COLLECTOR["processors"]["memory_limiter"]
    assert limiter["limit_percentage"] + limiter["spike_limit_percentage"] <= 100
