"""One of several processes builds what all of them need; the others wait, and fetch it."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from contextlib import contextmanager

import pytest

from compilespan import WarmupTarget, get_ledger, warm
from compilespan.cache import leading, turn
from compilespan.cache.errors import CacheError
from compilespan.cache.leading import Leading
from compilespan.cache.lease import Beat, Lease
from compilespan.cache.shared import SharedCache
from compilespan.cache.sharing import Share
from compilespan.cache.space import Space
from compilespan.cache.store import LocalStore, RemoteStore
from compilespan.cache.turn import Turn
from compilespan.dynamo.graphs import GraphWatch
from support import built

pytest.importorskip("fsspec")

PERIOD_S = 0.2


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(turn, "PERIOD_S", PERIOD_S)
    monkeypatch.setattr(leading, "PERIOD_S", PERIOD_S)
    monkeypatch.setattr(turn, "_LOOK_S", 0.01)


def creates_once():
    store = RemoteStore(f"memory://{secrets.token_hex(8)}")
    return store.create("file") and not store.create("file")


@pytest.fixture(params=["memory", "signed"])
def lease(request, tmp_path):
    """Return a function that returns the lease of a work, as another process sees it."""
    if request.param == "memory" and not creates_once():
        pytest.skip("memory:// of this fsspec creates a file twice: there is no lease")
    key = b"k" * 32 if request.param == "signed" else None
    remote = f"memory://{tmp_path}"

    def lease(work="work"):
        if request.param == "memory":
            return Lease(Space(RemoteStore(remote), key, "space"), work)
        return Lease(Space(LocalStore(tmp_path, is_checked=True), key, "space"), work)

    return lease


class Replica:
    """A process in a thread, and what it did."""

    def __init__(self, lease, wait_s=60.0, **options):
        self.did = []
        self.stopped = threading.Event()
        self.turn = Turn(
            lease,
            wait_s,
            **{
                "fetch": lambda: self.did.append("fetch"),
                "publish": lambda: self.did.append("publish") or True,
                "goes_on": lambda: not self.stopped.is_set(),
                **options,
            },
        )

    @property
    def leads(self):
        return self.turn._leading is not None


@contextmanager
def entering(replica):
    """Let a replica take its turn in a thread; yield an event that tells that it has."""
    entered = threading.Event()
    thread = threading.Thread(target=lambda: (replica.turn.__enter__(), entered.set()))
    thread.start()
    yield entered
    assert entered.wait(20)
    thread.join()


def test_the_first_one_leads_and_publishes(lease):
    replica = Replica(lease())
    with replica.turn:
        assert replica.leads
    assert replica.did == ["publish"]
    assert lease().beat(1).state == "built"
    assert not any(t.name == "compilespan-cache-lease" for t in threading.enumerate())


def test_the_others_wait_and_fetch_what_it_built(lease, caplog):
    caplog.set_level(logging.INFO, "compilespan")
    first, second = Replica(lease()), Replica(lease())
    with first.turn:
        with entering(second) as entered:
            assert not entered.wait(6 * PERIOD_S)  # longer than it takes to give a leader up
            first.turn.__exit__(None, None, None)
        assert second.did == ["fetch"]
        assert not second.leads
    assert "waiting for " in caplog.text
    assert "it is built" in caplog.text
    waited = [mark for mark in get_ledger().readiness.marks if mark.part == "wait"]
    assert [mark.name for mark in waited] == [leading.own_name()]


def test_of_many_that_begin_at_once_one_leads(lease):
    replicas = [Replica(lease()) for _ in range(6)]
    barrier = threading.Barrier(len(replicas))
    led = []

    def run(replica):
        barrier.wait()
        with replica.turn:
            if replica.leads:
                led.append(replica)
                time.sleep(3 * PERIOD_S)

    threads = [threading.Thread(target=run, args=(replica,)) for replica in replicas]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(led) == 1
    assert sum("fetch" in replica.did for replica in replicas) == len(replicas) - 1


def test_another_work_waits_for_nobody(lease):
    first, second = Replica(lease("one")), Replica(lease("two"))
    with first.turn, second.turn:
        assert first.leads
        assert second.leads


def test_what_was_built_earlier_is_fetched_without_a_wait(lease):
    with Replica(lease()).turn:
        pass
    later = Replica(lease())
    with later.turn:
        assert later.did == ["fetch"]
        assert not later.leads


def test_a_leader_that_is_killed_is_replaced(lease, caplog):
    caplog.set_level(logging.INFO, "compilespan")
    killed = lease()
    assert killed.begin(1)
    killed.show(1, Beat("pod-3:1", 7, "building"))
    replica = Replica(lease())
    began_s = time.monotonic()
    with replica.turn:
        assert replica.leads
        assert time.monotonic() - began_s > turn.LOST_PERIODS * PERIOD_S
    assert "waiting for pod-3:1" in caplog.text
    assert "it is lost" in caplog.text
    assert lease().latest() == 2


def test_a_leader_that_never_beat_is_replaced(lease):
    assert lease().begin(1)
    replica = Replica(lease())
    with replica.turn:
        assert replica.leads


def test_of_those_that_wait_for_a_killed_one_one_leads(lease):
    assert lease().begin(1)
    first, second = Replica(lease()), Replica(lease())
    with entering(first), entering(second):
        deadline_s = time.monotonic() + 20
        while not (first.leads or second.leads) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        leader, other = (first, second) if first.leads else (second, first)
        time.sleep(6 * PERIOD_S)
        assert not other.leads
        leader.turn.__exit__(None, None, None)
    assert other.did == ["fetch"]


def test_a_leader_that_fails_lets_the_others_build_at_once(lease):
    first, second = Replica(lease()), Replica(lease())
    first.turn.__enter__()
    with entering(second) as entered:
        assert not entered.wait(2 * PERIOD_S)
        first.turn.__exit__(ValueError, ValueError("bad"), None)
    assert "publish" not in first.did
    assert not second.leads
    assert second.did == []
    later = Replica(lease())  # a restart
    with later.turn:
        assert later.leads


def test_what_was_not_published_is_not_built(lease):
    replica = Replica(lease(), publish=lambda: False)
    with replica.turn:
        pass
    assert lease().beat(1).state == "failed"


def test_a_hung_leader_gives_no_sign_of_life(lease):
    hung, other = Replica(lease()), Replica(lease())
    hung.turn.__enter__()
    hung.stopped.set()  # its job timed out, and its call still runs
    with other.turn:
        assert other.leads


def test_a_wait_is_bounded_over_all_leaders(lease):
    first, second = Replica(lease()), Replica(lease(), wait_s=3 * PERIOD_S)
    with first.turn:
        began_s = time.monotonic()
        with second.turn:
            assert time.monotonic() - began_s >= 3 * PERIOD_S
            assert not second.leads
            assert second.did == []
            second.turn.item_ended()
            assert not second.leads
        assert second.did == ["publish"]


def test_a_wait_ends_with_its_job(lease):
    first, second = Replica(lease()), Replica(lease())
    with first.turn, entering(second) as entered:
        assert not entered.wait(2 * PERIOD_S)
        second.stopped.set()


def test_an_item_that_was_not_in_the_store_makes_one_lead_again(lease):
    with Replica(lease()).turn:
        pass
    first, second = Replica(lease()), Replica(lease())
    with first.turn, second.turn:
        first.turn.item_ended()
        assert not first.leads  # it hit
        built()
        first.turn.item_ended()
        assert first.leads
        with entering_item(second) as ended:
            assert not ended.wait(2 * PERIOD_S)
            first.turn.__exit__(None, None, None)
        assert second.did == ["fetch", "fetch"]


@contextmanager
def entering_item(replica):
    ended = threading.Event()
    thread = threading.Thread(target=lambda: (replica.turn.item_ended(), ended.set()))
    thread.start()
    yield ended
    assert ended.wait(20)
    thread.join()


def test_who_publishes_nothing_waits_but_does_not_lead(lease):
    reader = Replica(lease(), may_lead=False)
    with reader.turn:
        assert not reader.leads
    assert lease().latest() == 0
    first, second = Replica(lease()), Replica(lease(), may_lead=False)
    with first.turn, entering(second) as entered:
        assert not entered.wait(2 * PERIOD_S)
        first.turn.__exit__(None, None, None)
    assert second.did == ["fetch"]


def test_the_clocks_of_two_machines_are_not_compared(lease, monkeypatch):
    first, second = Replica(lease()), Replica(lease())
    with first.turn:
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + 3600)
        with entering(second) as entered:
            assert not entered.wait(6 * PERIOD_S)
            first.turn.__exit__(None, None, None)
    assert second.did == ["fetch"]


class Broken:
    """A lease whose store fails from some call on."""

    def __init__(self, lease, *broken):
        self._lease = lease
        self._broken = broken

    def __getattr__(self, name):
        if name in self._broken:
            raise ConnectionError(name)
        return getattr(self._lease, name)


@pytest.mark.parametrize("broken", [("latest",), ("begin",), ("latest", "begin", "beat", "show")])
def test_a_store_that_fails_costs_a_warning(lease, broken, caplog):
    replica = Replica(Broken(lease(), *broken))
    with replica.turn:
        assert not replica.leads
        built()
        replica.turn.item_ended()
    assert replica.did == ["publish"]
    assert caplog.text.count("do not wait for one another: ConnectionError") == 1


def test_a_store_that_goes_down_while_one_waits_ends_the_wait(lease, caplog):
    first = Replica(lease())
    down = []
    second = Replica(Broken(lease(), *()))
    second.turn._lease._broken = down
    with first.turn:
        with entering(second) as entered:
            assert not entered.wait(2 * PERIOD_S)
            down += ["latest", "begin", "beat"]
        assert not second.leads
    assert "do not wait for one another" in caplog.text


def test_beats_that_cannot_be_written_do_not_stop_the_leader(lease, caplog):
    replica = Replica(Broken(lease(), "show"))
    with replica.turn:
        assert replica.leads
    assert replica.did == ["publish"]
    assert "cannot see it" in caplog.text


def test_beats_of_a_stranger_are_none(tmp_path):
    store = LocalStore(tmp_path, is_checked=True)
    mine, theirs = (Lease(Space(store, key * 32, "space"), "work") for key in (b"k", b"x"))
    assert mine.begin(1)
    theirs.show(1, Beat("stranger", 1, "built"))
    assert mine.beat(1) is None
    mine.show(1, Beat("pod", 1, "built"))
    assert mine.beat(1) == Beat("pod", 1, "built")
    # A beat of one epoch is none of another one.
    (file,) = tmp_path.rglob("00000001.end")
    file.with_name("00000002.end").write_bytes(file.read_bytes())
    assert mine.beat(2) is None


def test_the_last_beat_stays_the_last(tmp_path):
    lease = Lease(Space(LocalStore(tmp_path, is_checked=True), None, "space"), "work")
    lease.show(1, Beat("pod", 2, "built"))
    lease.show(1, Beat("pod", 1, "building"))  # a slow store wrote it late
    assert lease.beat(1).state == "built"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"content": "{}", "signature": null}'])
def test_a_torn_beat_is_none(tmp_path, content):
    lease = Lease(Space(LocalStore(tmp_path, is_checked=True), None, "space"), "work")
    assert lease.begin(1)
    lease.show(1, Beat("pod", 1, "built"))
    (file,) = tmp_path.rglob("*.end")
    file.write_bytes(content)
    assert lease.beat(1) is None


def test_a_store_that_does_not_list_what_it_refuses_ends_the_tries(tmp_path, caplog, monkeypatch):
    lease = Lease(Space(LocalStore(tmp_path, is_checked=True), None, "space"), "work")
    folder = tmp_path / "space/lease/work/00000001"
    folder.mkdir(parents=True)  # a folder is not listed, and a file cannot be created there
    tries = []
    begin = lease.begin
    monkeypatch.setattr(lease, "begin", lambda epoch: tries.append(epoch) or begin(epoch))
    replica = Replica(lease)
    with replica.turn:
        assert not replica.leads
    assert 1 < len(tries) <= turn._TRIES
    assert "the store does not show who builds" in caplog.text


def test_a_reader_waits_for_a_lost_leader_once(lease, monkeypatch):
    assert lease().begin(1)
    reader = Replica(lease(), may_lead=False)
    with reader.turn:
        waits = [mark for mark in get_ledger().readiness.marks if mark.part == "wait"]
        for _ in range(3):
            built()
            reader.turn.item_ended()
        assert [m for m in get_ledger().readiness.marks if m.part == "wait"] == waits


def test_who_leads_after_a_loss_fetches_what_the_lost_one_published(lease):
    assert lease().begin(1)
    replica = Replica(lease())
    with replica.turn:
        assert replica.did == ["fetch"]


def test_items_that_fail_are_blamed_for_what_they_loaded_themselves(lease):
    tried = []
    GraphWatch.hit_keys.clear()
    GraphWatch.hit_keys["before"] = None
    with Replica(lease(), tried=lambda keys, is_known: tried.append((keys, is_known))).turn as t:
        GraphWatch.hit_keys["good"] = None
        t.item_ended()
        GraphWatch.hit_keys["bad"] = None
        t.item_ended(has_failed=True)
        t.item_ended(has_failed=True)
    assert tried == [({"bad"}, True)]


def test_whatever_fails_at_the_end_the_lease_ends(lease):
    replica = Replica(lease(), publish=lambda: 1 / 0)
    with replica.turn:
        pass
    assert lease().beat(1).state == "failed"


def test_a_store_that_only_looks_and_writes_gives_no_lease(tmp_path, monkeypatch):
    remote = Lease(Space(RemoteStore("ftp://127.0.0.1:9/cache"), None, "space"), "work")
    monkeypatch.setattr(RemoteStore, "_place", (None, ""))
    with pytest.raises(CacheError, match="cannot create a file exclusively"):
        remote.begin(1)
    store = LocalStore(tmp_path, is_checked=True)
    monkeypatch.setattr(LocalStore, "create", lambda *_: True)
    with pytest.raises(CacheError, match="creates a file twice"):
        Lease(Space(store, None, "space"), "work").begin(1)
    assert list(tmp_path.rglob("probe/*")) == []


def test_a_leader_stops_beating_when_it_ends(lease):
    mine = lease()
    assert mine.begin(1)
    beating = Leading(mine, 1, lambda: True)
    beating.end("built")
    last = mine.beat(1)
    time.sleep(3 * PERIOD_S)
    assert mine.beat(1) == last
    assert last.state == "built"


class TestShare:
    """The turn of a process with a shared cache."""

    def share(self, url, **options):
        share = Share(SharedCache(url, **options))
        share._since_ns = 0
        return share

    def test_who_only_writes_waits_for_nobody(self, use, tmp_path):
        use("builder")
        url = f"file://{tmp_path}/store"
        first, second = self.share(url), self.share(url, mode="write")
        with first.turn("work", lambda: True) as leading:
            assert leading._leading is not None
            with second.turn("work", lambda: True) as other:
                assert other._leading is None
                assert second.cache.uses._use.wait_s < 1

    def test_after_a_fetch_that_failed_there_is_no_turn(self, use, tmp_path, monkeypatch):
        use("builder")
        share = self.share(f"file://{tmp_path}/store")
        monkeypatch.setattr(LocalStore, "names", lambda *_: 1 / 0)
        share.fetch()
        with share.turn("work", lambda: True) as none:
            assert none is None

    def test_a_warmup_that_takes_no_turn_publishes_too(self, use, tmp_path, monkeypatch):
        builder = use("builder")
        monkeypatch.setenv("RANK", "0")
        monkeypatch.setenv("WORLD_SIZE", "2")
        url = f"file://{tmp_path}/store"

        def run(_):
            (builder / "ab").mkdir(parents=True, exist_ok=True)
            (builder / "ab/cabc.so").write_bytes(b"code")
            built()

        warm([WarmupTarget("net", run, [{}])], cache=url)
        assert list((tmp_path / "store").rglob("manifests/*.json"))
        assert not list((tmp_path / "store").rglob("lease/*"))
