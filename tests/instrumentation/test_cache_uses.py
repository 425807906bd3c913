"""What the shared compile cache saved and cost, and hits whose code was built again."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from compilespan import get_ledger
from compilespan.cache.manifest import Entry
from compilespan.cache.roots import graph_key
from compilespan.cache.uses import Uses, seconds_of_graphs
from compilespan.dynamo.graphs import GraphWatch
from compilespan.findings.finders import findings
from compilespan.findings.finding import Evidence
from compilespan.journal.directory import StateDirectory
from compilespan.journal.summary import Summary
from compilespan.journal.writer import open_journal
from compilespan.ledger.active import CompileBegun
from compilespan.ledger.cache_use import MAX_UNUSED, CacheUse
from compilespan.ledger.records import CompileEvent
from compilespan.ledger.totals import TotalsBuilder
from support import record

AOT, FX = "aotautograd/akey/entry", "fxgraph/ab/fkey/entry"
GRAPH = {"torch.compile.cache.result": "miss", "torch.compile.cache.key": "akey"}


def entry(path, size=10):
    return Entry("inductor", path, "0" * 64, size, False)


@pytest.fixture(autouse=True)
def no_hits():
    GraphWatch.hit_keys.clear()


def used():
    return get_ledger().totals().cache


@pytest.mark.parametrize(
    ("path", "key"),
    [
        (AOT, ("aotautograd", "akey")),
        (FX, ("fxgraph", "fkey")),
        ("ab/cabc.so", None),
        ("fxgraph/ab", None),
        ("aotautograd", None),
    ],
)
def test_the_key_of_a_graph_is_in_its_path(path, key):
    assert graph_key(path) == key


def test_what_was_fetched_is_used_when_torch_finds_it():
    uses = Uses()
    uses.fetched([entry(AOT), entry(FX), entry("ab/c.so")], {"akey": 9.5, "other": 1.0}, 0.5)
    assert used() == CacheUse(
        fetched_files=3,
        fetched_bytes=30,
        fetched_graphs=1,
        unused_graphs=("akey",),
        fetch_s=0.5,
    )
    GraphWatch.hit_keys["akey"] = None
    uses.note()
    assert (used().used_graphs, used().unused_graphs, used().saved_s) == (1, (), 9.5)
    uses.waited(2.0)
    uses.published(4, 0.25)
    assert (used().wait_s, used().published_files, used().publish_s) == (2.0, 4, 0.25)
    assert used().fetched_files == 3


def test_without_autograds_cache_a_graph_is_inductors_entry():
    uses = Uses()
    uses.fetched([entry(FX)], {}, 0.1)
    GraphWatch.hit_keys["fkey"] = None
    uses.note()
    assert (used().fetched_graphs, used().used_graphs) == (1, 1)


def test_nothing_is_said_twice():
    said = []
    followers = get_ledger().followers
    subscription = followers.follow(said.append, signal="subscription")
    uses = Uses()
    uses.note()
    uses.fetched([entry(AOT)], {}, 0.1)
    uses.note()
    followers.unfollow(subscription)
    assert len([each for each in said if isinstance(each, CacheUse)]) == 1


def test_the_sum_over_processes_adds_everything():
    one = CacheUse(1, 2, 3, 1, ("a", "b"), 4, 5, 1.0, 2.0, 3.0, 4.0)
    two = CacheUse(10, 20, 30, 10, ("b", "c"), 40, 50, 10.0, 20.0, 30.0, 40.0)
    assert one + two == CacheUse(11, 22, 33, 11, ("a", "b", "c"), 44, 55, 11.0, 22.0, 33.0, 44.0)
    many = CacheUse(unused_graphs=tuple(map(str, range(40))))
    assert len((many + one).unused_graphs) == MAX_UNUSED


def test_it_is_in_the_journal_and_in_its_summary(tmp_path):
    use = CacheUse(fetched_files=3, used_graphs=1, unused_graphs=("a",), saved_s=9.5)
    journal = open_journal(tmp_path)
    get_ledger().note_cache_use(CacheUse(fetched_files=1))
    get_ledger().note_cache_use(use)
    assert journal.flush()
    (process,) = StateDirectory(tmp_path).processes()
    assert process.snapshot().totals.cache_use == use
    journal.close()
    assert Summary.at_end_of(journal.path).totals.cache_use == use
    builder = TotalsBuilder()
    builder.update(process.snapshot().totals)
    builder.update(process.snapshot().totals)
    assert builder.build().cache == use + use
    assert builder.copy().cache_use == use + use


def compiled(**changes):
    """Record a compile with one graph."""
    event = CompileEvent("torch.compile.graph", 1, GRAPH)
    ledger = get_ledger()
    key = ledger.prepare()
    ledger.begin(CompileBegun(key, "net", "other", 1, 1))
    ledger.end(key, record(events=(event,), **changes))


def test_the_seconds_of_a_graph_are_its_share_of_the_compile():
    compiled(cache_misses=2, duration_ns=10 * 10**9)
    assert seconds_of_graphs() == {"akey": 5.0}


class Module:
    """A graph module without nodes."""

    class graph:  # noqa: N801  # as in torch.fx
        nodes = ()


def graph_of(watch, during, result="hit"):
    graph = watch.begin(Module())
    graph.looked_up("autograd", result, "akey")
    during()
    watch.end(graph, report=False)
    return graph.attributes.get("torch.compile.cache.is_rebuilt")


def test_a_hit_during_which_code_was_built_is_rebuilt():
    watch = GraphWatch()
    assert graph_of(watch, lambda: None) is None
    assert graph_of(watch, watch.built) is True
    assert graph_of(watch, watch.built, "miss") is None
    assert graph_of(watch, lambda: None) is None


def test_code_that_inductors_threads_built_counts_for_who_waits():
    watch = GraphWatch()

    def in_pool():
        thread = threading.Thread(target=watch.built)
        thread.start()
        thread.join()

    assert graph_of(watch, in_pool) is True
    assert graph_of(watch, lambda: None) is None


def test_rebuilt_hits_are_counted_and_found():
    hit = {"cache_hits": 3, "cache_misses": 0, "graphs": 3, "duration_ns": 20 * 10**9}
    rebuilt = record(**hit, cache_rebuilds=3, stages={"kernels": 16.0, "cache": 4.0})
    builder = TotalsBuilder()
    builder.add(rebuilt)
    assert builder.build().total.cache_rebuilds == 3
    (finding,) = [each for each in findings(Evidence([rebuilt])) if each.code == "CS035"]
    assert finding.what == "3 of 3 hits, code built again: 16.0 s"
    assert (finding.seconds, finding.count) == (16.0, 3)
    clean = dataclasses.replace(rebuilt, cache_rebuilds=0)
    assert "CS035" not in [each.code for each in findings(Evidence([clean]))]
