"""The Kubernetes kit: valid, consistent, and running under the restrictions of its own pods."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from support import free_port

ROOT = Path(__file__).parents[2]
KIT = ROOT / "deploy/kubernetes"
KUSTOMIZATIONS = sorted(path.parent for path in [*KIT.rglob("kustomization.yaml")])
NAMES = [each.relative_to(KIT).as_posix() for each in KUSTOMIZATIONS]
VERSIONS = ("1.29", "1.33")
OPERATOR = ("ServiceMonitor", "PrometheusRule")

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


def built(directory):
    """Return the objects of a kustomization, as kubectl builds them."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed, which builds the kustomizations without a cluster")
    done = subprocess.run(
        ["kubectl", "kustomize", directory], capture_output=True, text=True, check=True
    )
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def of_kind(objects, kind):
    return [each for each in objects if each["kind"] == kind]


def files(*kinds):
    """Return the objects in the files of the kit, as they are written."""
    found = []
    for path in sorted(KIT.rglob("*.yaml")):
        found += [each for each in yaml.safe_load_all(path.read_text()) if each]
    return [each for each in found if each["kind"] in kinds]


def containers(pod):
    return [*pod.get("initContainers", ()), *pod["containers"]]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("directory", KUSTOMIZATIONS, ids=NAMES)
def test_all_objects_are_valid(directory, version):
    objects = built(directory)
    assert objects
    for each in objects:
        if each["kind"] not in OPERATOR:
            kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize("directory", KUSTOMIZATIONS, ids=NAMES)
def test_pods_are_restricted_and_refer_to_what_is_there(directory):
    objects = built(directory)
    claims = {each["metadata"]["name"] for each in of_kind(objects, "PersistentVolumeClaim")}
    for workload in [*of_kind(objects, "Deployment"), *of_kind(objects, "Job")]:
        pod = workload["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod["automountServiceAccountToken"]
        volumes = {each["name"]: each for each in pod.get("volumes", ())}
        for each in volumes.values():
            if "persistentVolumeClaim" in each:
                assert each["persistentVolumeClaim"]["claimName"] in claims
        for container in containers(pod):
            limits = container["securityContext"]
            assert limits["readOnlyRootFilesystem"]
            assert not limits["allowPrivilegeEscalation"]
            assert limits["capabilities"] == {"drop": ["ALL"]}
            assert {each["name"] for each in container.get("volumeMounts", ())} <= set(volumes)
            assert container["resources"]["limits"]
            ports = {each["name"] for each in container.get("ports", ())}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                if probe in container:
                    assert container[probe]["httpGet"]["port"] in ports


@pytest.mark.parametrize("name", ["base", "overlays/store", "overlays/vllm"])
def test_the_probes_are_those_of_the_server_and_leave_30_minutes(name):
    (deployment,) = of_kind(built(KIT / name), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (server,) = pod["containers"]
    paths = {probe: server[probe]["httpGet"]["path"] for probe in server if "Probe" in probe}
    assert paths == {
        "startupProbe": "/startupz",
        "readinessProbe": "/readyz",
        "livenessProbe": "/livez",
    }
    startup = server["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 1800
    assert pod["terminationGracePeriodSeconds"] > 5 + 20


def test_a_sidecar_starts_first_and_its_readiness_is_the_pods():
    (deployment,) = of_kind(built(KIT / "overlays/sidecar"), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (sidecar,) = pod["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["startupProbe"]["httpGet"]["path"] == "/livez"  # it waits for nobody
    assert sidecar["readinessProbe"]["httpGet"]["path"] == "/readyz"
    state = {"name": "COMPILESPAN_STATE_DIR", "value": "/var/cache/compilespan/state"}
    assert all(state in each["env"] for each in containers(pod))


def test_the_store_needs_no_volume():
    objects = built(KIT / "overlays/store")
    assert of_kind(objects, "PersistentVolumeClaim") == []
    (deployment,) = of_kind(objects, "Deployment")
    assert deployment["spec"]["replicas"] > 1
    assert deployment["spec"]["strategy"]["type"] == "RollingUpdate"


def test_the_job_reaches_pods_that_are_not_ready():
    (job,) = files("Job")
    (warm,) = job["spec"]["template"]["spec"]["containers"]
    services = {each["metadata"]["name"]: each["spec"] for each in files("Service")}
    name = warm["args"][1].removeprefix("http://").partition(":")[0]
    assert services[name]["publishNotReadyAddresses"]
    assert services[name]["clusterIP"] == "None"


def test_the_operator_gets_the_same_alerts_and_all_dashboards():
    rule = yaml.safe_load((ROOT / "grafana/prometheus-rule.yaml").read_text())
    alerts = yaml.safe_load((ROOT / "grafana/alerts/compilespan.yml").read_text())
    assert rule["spec"] == alerts
    kustomization = yaml.safe_load((ROOT / "grafana/kustomization.yaml").read_text())
    (generator,) = kustomization["configMapGenerator"]
    boards = {path.name for path in (ROOT / "grafana/dashboards").glob("*.json")}
    assert {Path(each).name for each in generator["files"]} == boards


def test_yamllint_finds_nothing():
    linted = [str(path) for path in [*KIT.rglob("*.yaml"), ROOT / "grafana/kustomization.yaml"]]
    done = subprocess.run(
        [Path(sys.executable).parent / "yamllint", "--strict", *linted],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""


def test_the_targets_of_the_sidecar_can_be_loaded():
    scope = {}
    exec((KIT / "overlays/sidecar/targets.py").read_text(), scope)
    (target,) = scope["targets"]()
    assert target.name == "server"


RESTRICTED = """
set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs /mnt
mkdir /mnt/cache /mnt/token
# What lies below /tmp, or below /root, where no other user may look, comes back.
for kept in "$PYTHON_HOME" "$REPOSITORY"; do
  mkdir -p "/mnt/kept$kept"
  mount --bind "$kept" "/mnt/kept$kept"
done
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=0755 tmpfs /root
for kept in "$PYTHON_HOME" "$REPOSITORY"; do
  mkdir -p "$kept"
  mount --bind "/mnt/kept$kept" "$kept"
done
printf secret > /mnt/token/token
chown -R 10001:10001 /mnt/cache /mnt/token
mount -o remount,bind,ro /
exec setpriv --reuid=10001 --regid=10001 --clear-groups --no-new-privs --bounding-set=-all "$@"
"""


@pytest.fixture
def restricted():
    """Return a function that runs a command as the pod does: another user, a read-only root."""
    command = ["unshare", "--mount", "sh", "-c", RESTRICTED, "sh"]
    home = {"PYTHON_HOME": sys.base_prefix, "REPOSITORY": str(ROOT)}
    again = "import subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)"
    tried = subprocess.run(
        [*command, sys.executable, "-c", again],
        env={**os.environ, **home},
        capture_output=True,
        check=False,
    )
    if tried.returncode:
        pytest.skip(f"needs root and mount namespaces: {tried.stderr.decode()[-500:]}")
    running = []

    def run(*arguments, env):
        process = subprocess.Popen(
            [*command, *arguments],
            env={**env, **home},
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.wait()


def test_the_containers_command_runs_under_the_pods_restrictions(restricted):
    """A small model is compiled with C++ by another user on a read-only root."""
    (deployment,) = [each for each in files("Deployment") if "replicas" in each["spec"]][:1]
    (server,) = deployment["spec"]["template"]["spec"]["containers"]
    port = free_port()
    env = {
        each["name"]: each["value"]
        .replace("/var/cache/compilespan", "/mnt/cache")
        .replace("/etc/compilespan", "/mnt/token")
        for each in server["env"]
        if "value" in each
    }
    arguments = ["serve", "restricted_targets:targets", *server["args"][1:-1], str(port)]
    process = restricted(
        *(sys.executable, "-m", "compilespan_service.cli", *arguments),
        env={
            **env,
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parent),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "2",
        },
    )
    until_s = time.monotonic() + 100
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
                assert answer.status == 200
                break
        except OSError:
            assert process.poll() is None, process.communicate()[0]
            if time.monotonic() > until_s:
                process.terminate()
                pytest.fail(f"it is not ready: {process.communicate()[0]}")
            time.sleep(0.2)
    with pytest.raises(OSError, match="401"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/totals")
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert "Traceback" not in output
