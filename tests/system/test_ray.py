"""Replicas on a real Ray cluster of three nodes, on this machine: compiled once, by one of them."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from receiver import Receiver

ray = pytest.importorskip("ray")

pytestmark = [
    *(pytest.mark.system, pytest.mark.long, pytest.mark.timeout(600)),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Ray's own use of pydantic
]

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def collector():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def cluster(collector, tmp_path_factory):
    """Start three nodes with one CPU each."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    for _ in range(2):
        nodes.add_node(num_cpus=1)
    variables = {
        "PYTHONPATH": str(HERE),
        **collector.environment(),
        "COMPILESPAN_CACHE_UNSIGNED": "1",
    }
    ray.init(address=nodes.address, runtime_env={"env_vars": variables}, log_to_driver=False)
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture
def start(cluster, tmp_path):
    """Return a function that starts replicas, each on a node of its own."""
    sys.path.insert(0, str(HERE))
    from ray_replicas import Replica

    sys.path.remove(str(HERE))
    started = []

    def run(*numbers, **options):
        replicas = [
            Replica.options(scheduling_strategy="SPREAD").remote(n, str(tmp_path), **options)
            for n in numbers
        ]
        started.extend(replicas)
        return replicas

    yield run
    for replica in started:
        ray.kill(replica)


def test_replicas_on_three_nodes_compile_once_in_one_trace(start, tmp_path, collector):
    from compilespan_service.ray import Fleet

    url = f"file://{tmp_path}/store"
    done = ray.get([each.warm.remote(url, "once") for each in start(0, 1, 2)], timeout=300)
    assert len({each["node"] for each in done}) == 3
    assert all(each["is_warm"] for each in done)
    assert sorted((each["misses"], each["hits"]) for each in done) == [(0, 1), (0, 1), (1, 0)]
    assert not any(each["rebuilds"] for each in done)
    assert sum(each["waited_s"] > 0 for each in done) == 2
    fleet = Fleet("once")
    wait_until(lambda: fleet.totals().total.compiles == 3)
    assert fleet.health().is_warm
    assert dict(fleet.health().states) == {"warm": 3}
    row = fleet.totals().total
    assert (row.cache_misses, row.cache_hits) == (1, 2)
    assert row.wall_s <= row.compile_s
    wait_until(lambda: collector.received.named("compilespan.fleet"))
    (root,) = collector.received.named("compilespan.fleet")
    assert root.attributes["compilespan.fleet.name"] == "once"
    assert root.attributes["compilespan.fleet.replicas"] == 3
    wait_until(lambda: len(collector.received.named("torch.compile")) >= 3)
    warmups = collector.received.named("compilespan.warmup")
    assert [each.parent_id for each in warmups] == [root.span_id] * 3
    assert {each.trace_id for each in collector.received.named("torch.compile")} == {root.trace_id}


def test_one_that_is_added_later_finds_everything(start, tmp_path):
    url = f"file://{tmp_path}/store"
    (first,) = start(0)
    assert ray.get(first.warm.remote(url, "later"), timeout=300)["misses"] == 1
    (second,) = start(1)
    done = ray.get(second.warm.remote(url, "later"), timeout=300)
    assert (done["is_warm"], done["misses"], done["hits"], done["rebuilds"]) == (True, 0, 1, 0)
    assert done["waited_s"] == 0


def test_replicas_of_another_environment_do_not_wait_for_one_another(start, tmp_path):
    url = f"file://{tmp_path}/store"
    started = [*start(0), *start(1, threads=2)]
    done = ray.get([each.warm.remote(url, "mixed") for each in started], timeout=300)
    assert [(each["misses"], each["waited_s"]) for each in done] == [(1, 0), (1, 0)]


def test_the_replicas_of_a_serve_deployment_are_a_fleet(cluster, tmp_path, monkeypatch):
    from ray import serve

    from compilespan_service.ray import Fleet

    monkeypatch.syspath_prepend(str(HERE))
    from ray_replicas import Served

    serve.start(http_options={"location": "NoServer"})
    try:
        handle = serve.run(Served.bind(str(tmp_path), f"file://{tmp_path}/store"), name="app")
        assert handle.remote().result(timeout_s=60) == [4, 8]
        fleet = Fleet("app/Served")
        wait_until(lambda: dict(fleet.health().states) == {"warm": 2})
        wait_until(lambda: fleet.totals().total.graphs == 2)
        row = fleet.totals().total
        assert (row.cache_misses, row.cache_hits) == (1, 1)
    finally:
        serve.shutdown()


def test_if_the_leader_is_killed_in_the_middle_another_one_leads(start, tmp_path):
    from compilespan_service.ray import Fleet

    url = f"file://{tmp_path}/store"
    (leader,) = start(0, hang_s=600.0)
    pid = ray.get(leader.pid.remote())
    lost = leader.warm.remote(url, "killed")
    wait_until((tmp_path / "began-0").exists)
    others = [each.warm.remote(url, "killed") for each in start(1, 2)]
    time.sleep(3)
    assert not ray.wait(others, timeout=0)[0]
    os.kill(pid, signal.SIGKILL)
    done = ray.get(others, timeout=300)
    assert all(each["is_warm"] for each in done)
    assert sorted((each["misses"], each["hits"]) for each in done) == [(0, 1), (1, 0)]
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(lost)
    wait_until(lambda: dict(Fleet("killed").health().states) == {"lost": 1, "warm": 2})
    assert Fleet("killed").health().is_warm


def test_if_the_actor_is_killed_it_comes_back_and_replicas_are_warm(start, tmp_path):
    from compilespan_service.ray import Fleet

    url = f"file://{tmp_path}/store"
    (leader,) = start(0, hang_s=3.0)
    first = leader.warm.remote(url, "restarted")
    wait_until((tmp_path / "began-0").exists)
    ray.kill(ray.get_actor("fleet restarted", namespace="compilespan"), no_restart=False)
    (second,) = start(1)
    done = ray.get([first, second.warm.remote(url, "restarted")], timeout=300)
    assert all(each["is_warm"] for each in done)
    wait_until(lambda: dict(Fleet("restarted").health().states) == {"warm": 2})


def test_without_an_actor_a_replica_warms_up_by_itself(start, tmp_path, monkeypatch):
    """The name is taken by an actor of the program that knows nothing of us."""

    @ray.remote(num_cpus=0)
    class Foreign:
        pass

    taken = Foreign.options(name="fleet taken", namespace="compilespan").remote()
    (replica,) = start(0)
    done = ray.get(replica.warm.remote(f"file://{tmp_path}/store", "taken"), timeout=300)
    assert (done["is_warm"], done["misses"]) == (True, 1)
    ray.kill(taken)


def wait_until(condition, timeout_s=60.0):
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen"
        time.sleep(0.2)
