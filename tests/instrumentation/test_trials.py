"""What makes two starts die or fail is put into quarantine, and one cold start follows."""

from __future__ import annotations

import os
import secrets
import threading
import time
from dataclasses import replace

import pytest

from compilespan.cache import local, sound, trials, trying
from compilespan.cache.manifest import Entry, Manifest
from compilespan.cache.shared import SharedCache
from compilespan.cache.space import QUARANTINE, Space
from compilespan.cache.store import LocalStore
from compilespan.cache.trials import Others, Trial, Trials
from compilespan.cache.trying import Trying
from compilespan.dynamo.graphs import GraphWatch
from serving import wait_until
from support import built, in_child

NAME, OTHER = (f"manifests/{number:020d}-abcdef01.json" for number in (1, 2))
GRAPH = "aotautograd/akey/graph"
HERE = f"trials/{trials._host()}"


@pytest.fixture(autouse=True)
def short(monkeypatch):
    GraphWatch.hit_keys.clear()
    monkeypatch.setattr(sound, "_LOOK_S", 0.02)
    monkeypatch.setattr(trials, "DEAD_S", 0.3)
    monkeypatch.setattr(trying, "BEAT_S", 0.1)
    monkeypatch.setattr(trying, "_LOOK_S", 0.02)


@pytest.fixture
def space(tmp_path):
    return Space(LocalStore(tmp_path, is_checked=True), b"k" * 32, "space")


def left_behind(space, start, *, pid=7, host=HERE, **values):
    """Write the trial of another process."""
    name = f"{host}/{pid}-abcdef0{start}"
    told = {"may": (NAME,), "loaded": (NAME,), **values}
    Trials(space).show(name, Trial(str(start) * 16, **told))
    return name


def starts(space):
    return {name: len(each) for name, each in Trials(space).failures().items()}


def due(space):
    """Return the trials of others, as they were long ago."""
    return replace(Trials(space).others(), at_s=-1e9)


def settled(space):
    """Count the trials of dead processes, all of them."""
    Trials(space).settle(due(space))
    return starts(space)


def test_a_trial_that_shows_no_life_is_a_failure_of_what_it_loaded(space):
    left_behind(space, 1, may=(NAME, OTHER), loaded=(NAME,), ended=1)
    assert settled(space) == {NAME: 1}
    assert space.names("trials/") == []
    left_behind(space, 2)
    assert settled(space) == {NAME: 2}


def test_in_its_first_compile_it_may_have_died_of_anything(space):
    left_behind(space, 1, may=(NAME, OTHER), loaded=(), ended=0)
    assert settled(space) == {NAME: 1, OTHER: 1}


def test_who_compiled_and_loaded_nothing_blames_nobody(space):
    left_behind(space, 1, loaded=(), ended=3)
    assert settled(space) == {}


def test_the_processes_of_a_start_count_once(space):
    for pid in (7, 8, 9):
        left_behind(space, 1, pid=pid)
    assert settled(space) == {NAME: 1}


def test_a_trial_that_is_replayed_counts_once(space):
    name = left_behind(space, 1)
    (file,) = (path for path in space._store.directory.rglob("7-abcdef01"))
    data = file.read_bytes()
    for _ in range(3):
        settled(space)
        file.write_bytes(data)
    assert starts(space) == {NAME: 1}
    # Under another name it is not signed.
    file.with_name("8-abcdef01").write_bytes(data)
    assert set(Trials(space).others().trials) == {name}


def test_who_lives_is_no_failure(space):
    name = left_behind(space, 1)
    seen = due(space)
    Trials(space).show(name, trials.beaten(seen.trials[name], {NAME}, 1))
    Trials(space).settle(seen)
    assert starts(space) == {}
    assert space.names("trials/") == [name]


def test_who_was_seen_a_moment_ago_is_not_dead_yet(space):
    name = left_behind(space, 1, may=(NAME, OTHER), loaded=(NAME, OTHER))
    Trials(space).settle(Trials(space).others())
    assert starts(space) == {}
    # What has worked here is forgiven: if it is dead, it did not die of that.
    Trials(space).settle(Trials(space).others(), [NAME])
    assert Trials(space).others().trials[name].loaded == (OTHER,)
    Trials(space).settle(Trials(space).others(), [OTHER])
    assert settled(space) == {}


def test_our_own_start_and_other_hosts_are_not_looked_at(space, monkeypatch):
    left_behind(space, 1, host="trials/another-host")
    Trials(space).show(Trials.new_name(), replace(Trials.new(), may=(NAME,)))
    assert Trials(space).others().trials == {}
    monkeypatch.setattr(trials, "_host", lambda: "another-host")
    trials.fail(space, [NAME], "2" * 16)
    assert starts(space) == {NAME: 1}
    monkeypatch.setattr(trials, "_host", lambda: "here")
    assert starts(space) == {}


@pytest.mark.parametrize("name", ["x-abcdef01", "7-xyz", "7-abcdef01/deeper"])
def test_a_file_of_another_name_is_no_trial(space, name):
    space.write(f"{HERE}/{name}", {"start": "1"})
    assert Trials(space).others().trials == {}
    assert settled(space) == {}


def test_a_forged_trial_and_a_forged_failure_count_nothing(space, tmp_path):
    stranger = Space(LocalStore(tmp_path, is_checked=True), b"x" * 32, "space")
    left_behind(stranger, 1)
    trials.fail(stranger, [NAME], "2" * 16)
    space.mark(f"failures/{NAME[10:-5]}/{trials._host()}/{'3' * 16}")
    trials.fail(space, [NAME], "4" * 16)
    (real,) = tmp_path.rglob("4" * 16)
    real.with_name("5" * 16).write_bytes(real.read_bytes())
    assert settled(space) == {NAME: 1}


def test_no_name_leaves_the_folder_of_failures(space, tmp_path):
    trials.fail(space, ["manifests/../../../outside.json"], "1" * 16)
    assert list(tmp_path.rglob("*")) == []


def test_what_has_worked_is_forgiven_and_nothing_else(space):
    trials.fail(space, [NAME, OTHER], "1" * 16)
    name = Trials.new_name()
    Trials(space).show(name, Trials.new())
    Trials(space).end(name, Trials.new(), worked=[NAME], failed=[])
    assert starts(space) == {OTHER: 1}
    assert space.names("trials/") == []


def test_who_may_not_remove_marks(space, monkeypatch):
    monkeypatch.setattr(LocalStore, "remove", lambda *_: 1 / 0)
    left_behind(space, 1)
    assert settled(space) == {NAME: 1}
    assert due(space).trials == {}
    Trials(space).forgive([NAME])
    assert starts(space) == {}
    name = left_behind(space, 2)
    Trials(space).end(name, Trials(space).others().trials[name], worked=[NAME], failed=[])
    assert settled(space) == {}
    trials.fail(space, [NAME], "1" * 16)  # it fails again
    assert starts(space) == {NAME: 1}


class TestTrying:
    """The trial of this process."""

    @pytest.fixture
    def one(self, space):
        self.loaded = set()
        one = Trying(lambda: self.loaded, lambda: Trials(space))
        yield one
        one.end(is_turn=True)
        one.end()

    def begin(self, one, *names, **options):
        one.begin(names or [NAME], Others({}, 0.0), **options)

    def test_it_is_written_once_and_removed(self, space, one):
        self.begin(one)
        self.begin(one)
        assert len(space.names("trials/")) == 1
        one.end()
        one.end()
        assert space.names("trials/") == []

    def test_what_is_fetched_later_is_in_it(self, space, one):
        self.begin(one)
        self.begin(one, NAME, OTHER)
        (name,) = space.names("trials/")
        assert set(space.read(name)["may"]) == {NAME, OTHER}

    def test_it_shows_life_and_what_was_loaded(self, space, one):
        self.begin(one, NAME, OTHER)
        (name,) = space.names("trials/")
        self.loaded.add(NAME)
        wait_until(lambda: space.read(name)["loaded"] == [NAME])
        count = space.read(name)["count"]
        wait_until(lambda: space.read(name)["count"] > count)

    def test_what_worked_is_forgiven_but_not_at_an_exit(self, space, one):
        trials.fail(space, [NAME], "1" * 16)
        self.loaded.add(NAME)
        self.begin(one)
        one.end(has_worked=False)
        assert starts(space) == {NAME: 1}
        self.begin(one)
        one.end()
        assert starts(space) == {}

    def test_a_turn_that_goes_on_is_waited_for(self, space, one, monkeypatch):
        monkeypatch.setattr(trying, "WORKED_S", 0.1)
        self.begin(one)
        self.begin(one, is_turn=True)
        built()
        self.loaded.add(NAME)
        time.sleep(0.5)
        one.end()  # the process is ready
        assert len(space.names("trials/")) == 1
        one.end(failed=[NAME], is_turn=True)
        assert starts(space) == {NAME: 1}
        assert space.names("trials/") == []

    def test_a_process_that_dies_leaves_it(self, space, one):
        def die():
            self.begin(one)
            os.kill(os.getpid(), 9)

        in_child(die)
        (name,) = space.names("trials/")
        assert space.read(name)["may"] == [NAME]

    def test_a_forked_child_leaves_that_of_its_parent(self, space, one):
        self.begin(one)
        with one._lock:
            in_child(one.end)
        assert len(space.names("trials/")) == 1

    def test_it_ends_some_time_after_the_last_compile(self, space, one, monkeypatch):
        monkeypatch.setattr(trying, "WORKED_S", 0.3)
        self.begin(one)
        time.sleep(0.6)
        assert space.names("trials/")  # nothing was compiled or loaded yet
        built()
        wait_until(lambda: not space.names("trials/"))

    def test_a_late_sign_of_life_does_not_outlive_it(self, space, one, monkeypatch):
        entered, go_on = threading.Event(), threading.Event()
        show = Trials.show

        def slow(trials, name, trial):
            if trial.count and not trial.is_over:
                entered.set()
                go_on.wait(10)
            show(trials, name, trial)

        monkeypatch.setattr(Trials, "show", slow)
        self.begin(one)
        assert entered.wait(10)
        one.end(timeout_s=0.1)  # the store is slower than the end
        go_on.set()
        wait_until(lambda: not space.names("trials/"))

    def test_a_first_note_that_is_late_is_removed(self, space, one, monkeypatch):
        go_on = threading.Event()
        show = Trials.show
        monkeypatch.setattr(trying, "_STORE_S", 0.1)
        monkeypatch.setattr(Trials, "show", lambda *each: go_on.wait(10) and show(*each))
        self.begin(one)
        go_on.set()
        time.sleep(0.3)
        wait_until(lambda: not space.names("trials/"))

    def test_a_store_that_fails_costs_nothing(self, space, one, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(Trials, "show", lambda *_: 1 / 0)
            self.begin(one)
            one.end()
        self.begin(one)
        monkeypatch.setattr(Trials, "settle", lambda *_: 1 / 0)
        self.loaded.add(NAME)
        one.end()
        assert space.names("trials/") == []
        wait_until(lambda: "compilespan-cache-trial" not in {t.name for t in threading.enumerate()})


class TestFetching:
    """What a start does with what made others die."""

    @pytest.fixture
    def url(self, tmp_path):
        return f"file://{tmp_path}/store"

    @pytest.fixture
    def published(self, use, url):
        file = use("builder") / GRAPH
        file.parent.mkdir(parents=True)
        file.write_bytes(b"graph")
        assert SharedCache(url).publish(0, 100.0).entries == 1
        return use("follower")

    @pytest.fixture
    def start(self, url, monkeypatch):
        """Return a function that tells whether a start loads the graph; it dies, fails or works."""

        def start(directory, how, **options):
            monkeypatch.setenv("COMPILESPAN_INSTANCE_ID", secrets.token_hex(4))
            GraphWatch.hit_keys.clear()
            cache = SharedCache(url, **options)
            cache.fetch()
            loads = (directory / GRAPH).exists()
            cache.publications.try_out()
            if loads:
                GraphWatch.hit_keys["akey"] = None
            going = cache.publications._trying._now
            if how == "dies" and going is not None:
                going._is_over.set()
                going._thread.join()
                cache.publications._trying._now = None
            elif how != "dies":
                failed = ["akey"] if how == "fails" and loads else ()
                cache.publications.turn_ended(failed, is_known=True)
            return loads

        return start

    @pytest.mark.parametrize("how", ["dies", "fails"])
    @pytest.mark.parametrize("mode", ["readwrite", "read"])
    def test_after_two_failures_a_start_builds(self, published, url, how, mode, caplog, start):
        starts = [start(published, how, mode=mode) for _ in range(4)]
        assert starts == [True, True, False, False]
        (line,) = [line for line in caplog.messages if "in quarantine" in line]
        assert line.startswith("compilespan: 2 starts on this host died or failed with what ")

    def test_what_works_in_between_is_forgiven(self, published, url, start):
        for how in ("dies", "works", "dies", "works", "fails"):
            assert start(published, how)

    def test_another_replica_does_not_load_it_either(self, published, url, use, start):
        for _ in range(3):
            start(published, "dies")
        other = use("other")
        assert not start(other, "works")

    def test_a_reader_keeps_its_quarantine_to_itself(self, published, url, use, tmp_path, start):
        for _ in range(3):
            start(published, "dies", mode="read")
        assert list((tmp_path / "store").rglob("quarantine/*")) == []
        assert start(use("other"), "works", mode="read")

    def test_what_is_built_again_stays(self, published, url, start):
        for _ in range(3):
            start(published, "dies")
        (published / GRAPH).parent.mkdir(parents=True, exist_ok=True)
        (published / GRAPH).write_bytes(b"graph")  # the same: nothing was wrong with it
        SharedCache(url).fetch()
        assert (published / GRAPH).exists()

    def test_only_the_entry_itself_is_removed(self, published, url, start):
        for _ in range(2):
            start(published, "dies")
        (published / GRAPH).write_bytes(b"other")
        SharedCache(url).fetch()
        assert (published / GRAPH).read_bytes() == b"other"

    def test_what_is_released_is_loaded(self, published, url, tmp_path, use, start):
        for _ in range(3):
            start(published, "dies")
        (name,) = [path.name for path in (tmp_path / "store").rglob("quarantine/*.json")]
        (folder,) = [path.parent.name for path in (tmp_path / "store").glob("*/quarantine")]
        space = Space(LocalStore(tmp_path / "store", is_checked=False), None, folder)
        shut = space.manifests(time.monotonic() + 9, folder=QUARANTINE)
        trials.release(space, QUARANTINE + name, shut[QUARANTINE + name])
        assert start(use("other"), "works")

    def test_where_nothing_else_is_left_it_is_removed_from_another_machine(
        self, published, url, use, start
    ):
        other = use("other")
        SharedCache(url).fetch()
        use("follower")
        for _ in range(3):
            start(published, "dies")
        assert (other / GRAPH).exists()
        use("other")
        SharedCache(url).fetch()
        assert not (other / GRAPH).exists()

    def test_after_a_release_it_can_be_put_there_again(self, published, url, tmp_path, start):
        for _ in range(3):
            start(published, "dies")
        (folder,) = [path.parent.name for path in (tmp_path / "store").glob("*/quarantine")]
        space = Space(LocalStore(tmp_path / "store", is_checked=False), None, folder)
        shut = space.manifests(time.monotonic() + 9, folder=QUARANTINE)
        trials.release(space, *next(iter(shut.items())))
        assert [start(published, "dies") for _ in range(3)] == [True, True, False]

    def test_what_others_build_is_loaded_even_if_it_is_the_same(self, published, url, use, start):
        for _ in range(3):
            start(published, "dies")
        builder = use("second-builder")
        for path in (GRAPH, "aotautograd/bkey/graph"):
            (builder / path).parent.mkdir(parents=True)
            (builder / path).write_bytes(b"graph" if path == GRAPH else b"another")
        SharedCache(url).publish(0, 100.0)
        third = use("third")
        assert SharedCache(url).fetch().entries == 2
        assert (third / "aotautograd/bkey/graph").exists()
        assert (third / GRAPH).exists()

    def test_what_others_only_know_is_not_loaded(self, published, url, use, start):
        cache = SharedCache(url)
        cache.fetch()
        (published / "aotautograd/bkey").mkdir(parents=True)
        (published / "aotautograd/bkey/graph").write_bytes(b"another")
        assert cache.publish(0, 100.0).entries == 1  # it lists what it has fetched, too
        for _ in range(3):
            start(use("follower-2"), "dies")
        third = use("third")
        SharedCache(url).fetch()
        assert not (third / GRAPH).exists()

    def test_a_store_whose_trials_cannot_be_read_is_fetched(
        self, published, url, monkeypatch, caplog
    ):
        monkeypatch.setattr(Trials, "failures", lambda _: 1 / 0)
        assert SharedCache(url).fetch().entries == 1
        assert "cannot be found out: ZeroDivisionError" in caplog.text

    def test_a_signed_manifest_in_quarantine_is_forged(self, published, url, tmp_path, use):
        key = tmp_path / "key"
        key.write_text("k" * 32)
        fill = use("signer") / GRAPH
        fill.parent.mkdir(parents=True)
        fill.write_bytes(b"signed")
        SharedCache(url, key_file=key).publish(0, 1.0)
        for manifest in list((tmp_path / "store").rglob("manifests/*.json")):
            shut = manifest.parents[1] / "quarantine" / manifest.name
            shut.parent.mkdir(exist_ok=True)
            shut.write_bytes(manifest.read_bytes())
        use("follower")
        assert SharedCache(url, key_file=key).fetch().entries == 1


def test_a_manifest_loses_what_another_one_added():
    good, bad = (Entry("inductor", path, path[-1] * 64, 1, False) for path in ("a/a", "a/b"))
    manifest = Manifest({}, "", "", 1, 1.0, 2, {}, (bad, good, bad))
    assert sound._without(manifest, frozenset([bad])).entries == (good,)
    assert sound._without(manifest, frozenset([bad])).published == 1
    assert sound._without(manifest, frozenset()) is manifest


def test_the_folder_of_notes_is_no_entry():
    assert local.PARTS.startswith(".")
