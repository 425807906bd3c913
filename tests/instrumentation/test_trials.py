"""What makes two starts die or fail is put into quarantine, and one cold start follows."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from compilespan.cache import local, sound, trials, trying
from compilespan.cache.manifest import Entry, Manifest
from compilespan.cache.shared import SharedCache
from compilespan.cache.space import QUARANTINE, Space
from compilespan.cache.store import LocalStore
from compilespan.cache.trials import Trials
from compilespan.cache.trying import Trying
from compilespan.dynamo.graphs import GraphWatch
from support import in_child

NAME = "manifests/00000000000000000001-ab.json"
GRAPH = "aotautograd/akey/graph"


@pytest.fixture(autouse=True)
def no_hits():
    GraphWatch.hit_keys.clear()


@pytest.fixture
def space(tmp_path):
    return Space(LocalStore(tmp_path, is_checked=True), b"k" * 32, "space")


@pytest.fixture
def dead_pid():
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def left_behind(space, pid, host=None, names=(NAME,)):
    """Write the trial of another process."""
    space.write(f"trials/{host or trials._host()}/{pid}-ab", {"publications": list(names)})


def test_a_trial_of_a_dead_process_is_a_failure_once(space, dead_pid):
    left_behind(space, dead_pid)
    assert Trials(space).failures() == {NAME: 1}
    assert Trials(space).failures() == {NAME: 1}
    left_behind(space, dead_pid)
    assert Trials(space).failures() == {NAME: 2}


def test_a_process_with_our_pid_was_before_us(space):
    left_behind(space, os.getpid())  # in a container each start is process 1
    assert Trials(space).failures() == {NAME: 1}


def test_the_living_strangers_and_our_own_are_no_failures(space):
    left_behind(space, os.getppid())
    left_behind(space, 1, host="another-host")
    Trials(space).begin([NAME])
    assert Trials(space).failures() == {}


@pytest.mark.parametrize("pid", ["x", "999999999999999999999"])
def test_a_trial_without_a_real_pid_is_that_of_a_dead_one(space, pid):
    left_behind(space, pid)
    assert Trials(space).failures() == {NAME: 1}


def test_a_torn_or_forged_trial_blames_nobody(space, tmp_path, dead_pid):
    left_behind(Space(LocalStore(tmp_path, is_checked=True), b"x" * 32, "space"), dead_pid)
    assert Trials(space).failures() == {}
    assert space.names("trials/") == []


def test_what_has_worked_leaves_nothing_and_forgets_failures(space):
    trials.fail(space, [NAME, "manifests/other.json"])
    trial = Trials(space).begin([NAME])
    trial.worked()
    assert Trials(space).failures() == {"manifests/other.json": 1}
    assert space.names("trials/") == []


def test_what_has_failed_blames_what_was_used(space):
    Trials(space).begin([NAME, "manifests/other.json"]).failed([NAME])
    assert Trials(space).failures() == {NAME: 1}
    assert space.names("trials/") == []


class TestTrying:
    """The trial of this process."""

    def test_it_is_written_once_and_removed(self, space):
        one = Trying()
        one.begin(lambda: Trials(space).begin([NAME]))
        one.begin(lambda: Trials(space).begin([NAME]))
        assert len(space.names("trials/")) == 1
        one.end()
        one.end()
        assert space.names("trials/") == []

    def test_a_process_that_dies_leaves_it(self, space):
        def die():
            Trying().begin(lambda: Trials(space).begin([NAME]))
            os.kill(os.getpid(), 9)

        in_child(die)
        assert Trials(space).failures() == {NAME: 1}

    def test_it_ends_some_time_after_the_last_load(self, space, monkeypatch):
        monkeypatch.setattr(trying, "_LOOK_S", 0.05)
        monkeypatch.setattr(trying, "WORKED_S", 0.3)
        Trying().begin(lambda: Trials(space).begin([NAME]))
        time.sleep(0.6)
        assert space.names("trials/")  # nothing was loaded yet
        GraphWatch.hit_keys["akey"] = None
        deadline_s = time.monotonic() + 10
        while space.names("trials/"):
            assert time.monotonic() < deadline_s
            time.sleep(0.05)

    def test_a_store_that_fails_costs_nothing(self, space):
        one = Trying()
        one.begin(lambda: 1 / 0)
        one.end()
        one.begin(lambda: None)
        one.end(["x"])
        assert not any(t.name == "compilespan-cache-trial" for t in threading.enumerate())


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

    def start(self, url, directory, how, **options):
        """Return whether a start loads the graph; it dies, fails or works."""
        cache = SharedCache(url, **options)
        cache.fetch()
        loads = (directory / GRAPH).exists()
        cache.publications.try_out()
        if loads:
            GraphWatch.hit_keys["akey"] = None
        if how != "dies":
            cache.publications.tried(has_failed=how == "fails")
        trials._own.clear()
        return loads

    @pytest.mark.parametrize("how", ["dies", "fails"])
    @pytest.mark.parametrize("mode", ["readwrite", "read"])
    def test_after_two_failures_a_start_builds(self, published, url, how, mode, caplog):
        starts = [self.start(url, published, how, mode=mode) for _ in range(4)]
        assert starts == [True, True, False, False]
        (line,) = [line for line in caplog.messages if "in quarantine" in line]
        assert line.startswith("compilespan: 2 starts on this host died or failed with what ")

    def test_what_works_in_between_is_forgiven(self, published, url):
        for how in ("dies", "works", "dies", "works", "fails"):
            assert self.start(url, published, how)

    def test_another_replica_does_not_load_it_either(self, published, url, use):
        for _ in range(3):
            self.start(url, published, "dies")
        other = use("other")
        assert not self.start(url, other, "works")

    def test_a_reader_keeps_its_quarantine_to_itself(self, published, url, use, tmp_path):
        for _ in range(3):
            self.start(url, published, "dies", mode="read")
        assert list((tmp_path / "store").rglob("quarantine/*")) == []
        assert self.start(url, use("other"), "works", mode="read")

    def test_what_is_built_again_stays(self, published, url):
        for _ in range(3):
            self.start(url, published, "dies")
        (published / GRAPH).parent.mkdir(parents=True, exist_ok=True)
        (published / GRAPH).write_bytes(b"graph")  # the same: nothing was wrong with it
        SharedCache(url).fetch()
        assert (published / GRAPH).exists()

    def test_only_the_entry_itself_is_removed(self, published, url):
        for _ in range(2):
            self.start(url, published, "dies")
        (published / GRAPH).write_bytes(b"other")
        SharedCache(url).fetch()
        assert (published / GRAPH).read_bytes() == b"other"

    def test_what_is_released_is_loaded(self, published, url, tmp_path, use):
        for _ in range(3):
            self.start(url, published, "dies")
        (name,) = [path.name for path in (tmp_path / "store").rglob("quarantine/*.json")]
        (folder,) = [path.name for path in (tmp_path / "store").iterdir()]
        space = Space(LocalStore(tmp_path / "store", is_checked=False), None, folder)
        shut = space.manifests(time.monotonic() + 9, folder=QUARANTINE)
        trials.release(space, QUARANTINE + name, shut[QUARANTINE + name])
        assert self.start(url, use("other"), "works")

    def test_what_others_publish_beside_it_is_still_loaded(self, published, url, use):
        for _ in range(3):
            self.start(url, published, "dies")
        builder = use("second-builder")
        for path in (GRAPH, "aotautograd/bkey/graph"):
            (builder / path).parent.mkdir(parents=True)
            (builder / path).write_bytes(b"graph" if path == GRAPH else b"another")
        SharedCache(url).publish(0, 100.0)
        third = use("third")
        SharedCache(url).fetch()
        assert (third / "aotautograd/bkey/graph").exists()
        assert not (third / GRAPH).exists()


def test_a_manifest_loses_what_another_one_added():
    good, bad = (Entry("inductor", path, path[-1] * 64, 1, False) for path in ("a/a", "a/b"))
    manifest = Manifest({}, "", "", 1, 1.0, 2, {}, (bad, good, bad))
    assert sound._without(manifest, frozenset([bad])).entries == (good,)
    assert sound._without(manifest, frozenset([bad])).published == 1
    assert sound._without(manifest, frozenset()) is manifest


def test_the_folder_of_notes_is_no_entry():
    assert local.PARTS.startswith(".")
