"""``compilespan cache``: list a shared compile cache, and remove what is not used."""

from __future__ import annotations

import datetime as dt
import json
import os
import time

import pytest

from compilespan.cache import housekeeping, trials
from compilespan.cache.manifest import Entry, Manifest
from compilespan.cache.place import Place
from compilespan.cache.space import Space, blob
from compilespan_service.cli.commands import app
from support import cli_runner

pytestmark = pytest.mark.quick
DAY_NS = 86_400 * 10**9
FACTS = {"torch": "2.13.0", "cpu": "AVX512", "threads": "2", "python": "cpython-311"}


def run(*arguments):
    return cli_runner().invoke(app, ["cache", *map(str, arguments)])


def entry(path, size=1000, digest=None):
    return Entry("inductor", path, (digest or path[-1]) * 64, size, False)


@pytest.fixture
def store(tmp_path):
    (tmp_path / "store").mkdir(mode=0o700)
    return tmp_path / "store"


@pytest.fixture
def publish(store):
    """Return a function that publishes new entries beside known ones, some days ago."""

    def publish(days, new, known=(), *, space="space", key=None, builder="pod-1:1"):
        space = Space(Place(str(store), None).store(), key, space)
        for each in new:
            space.add_content(each, b"x" * each.size)
            age(store / "space", each, days)
        created_ns = time.time_ns() - days * DAY_NS
        entries = (*new, *known)
        manifest = Manifest(FACTS, "avx512", builder, created_ns, 9.0, len(new), {}, entries)
        space.add(manifest)
        return space

    return publish


def age(folder, each, days):
    """Make content some days old."""
    for file in folder.parent.glob(f"*/{blob(each)}"):
        at_s = time.time() - days * 86_400 - 7_200
        os.utime(file, (at_s, at_s))


A, B, C = entry("aotautograd/ka/a"), entry("aotautograd/kb/b"), entry("ab/c.c", 500)


def blobs(store):
    return sorted(path.name[0] for path in store.rglob("*") if path.parent.parent.name == "blobs")


def test_ls_shows_each_environment(publish, store):
    publish(3, [A, C], builder="pod-1:1")
    publish(0, [B], [A, C], builder="pod-2:1")
    said = run("ls", store)
    assert said.exit_code == 0, said.stdout
    header, row = said.stdout.splitlines()
    assert header.split()[:5] == ["environment", "graphs", "files", "size", "last"]
    assert "torch 2.13.0, AVX512, 2 threads, cpython-311" in row
    assert row.split()[-7:-3] == ["2", "3", "2.5", "KB"]
    assert row.endswith("pod-1:1, pod-2:1")
    (listed,) = json.loads(run("ls", store, "--json").stdout)
    assert (listed["graphs"], listed["files"], listed["bytes"]) == (2, 3, 2500)
    assert listed["environment"] == FACTS


def test_ls_of_nothing_and_of_no_directory(store, tmp_path):
    assert run("ls", store).stdout == "the cache is empty\n"
    missing = run("ls", tmp_path / "missing")
    assert missing.exit_code == 1
    assert missing.stderr == f"compilespan cache ls: {tmp_path}/missing is no directory\n"
    assert not (tmp_path / "missing").exists()


def test_ls_shows_only_what_the_key_has_signed(publish, store, tmp_path):
    key = tmp_path / "key"
    key.write_text("k" * 32)
    publish(0, [A], key=b"k" * 32)
    publish(0, [B], key=b"x" * 32)
    (listed,) = json.loads(run("ls", store, "--json", "--key-file", key).stdout)
    assert listed["files"] == 1


def test_prune_removes_what_was_not_used_for_longest(publish, store):
    publish(9, [A])
    publish(5, [B], [A])
    publish(1, [C], [A, B])
    said = run("prune", store, "--max-size", "1.5KB")
    assert said.stdout == "removed 1 of 3 publications, 1.0 KB\n"
    assert blobs(store) == ["b", "c"]
    (listed,) = json.loads(run("ls", store, "--json").stdout)
    assert (listed["files"], listed["bytes"]) == (2, 1500)
    # What stays lists nothing that is gone.
    place = Place(str(store), None)
    manifests = Space(place.store(), None, "space").manifests(time.monotonic() + 9)
    assert {each for m in manifests.values() for each in m.entries} == {B, C}


def test_what_is_used_stays(publish, store):
    space = publish(9, [A])
    publish(5, [B])
    (name, _) = list(space.manifests(time.monotonic() + 9).items())[-1]
    housekeeping.mark_used(space, name)
    run("prune", store, "--max-size", "1000")
    assert blobs(store) == ["a"]
    run("prune", store, "--max-size", "0")
    assert [path for path in store.rglob("*") if path.is_file()] == []


def test_content_that_two_publications_added_stays_with_one(publish, store):
    publish(9, [A, C])
    publish(1, [B, C])
    run("prune", store, "--unused-for", "5")
    assert blobs(store) == ["b", "c"]


def test_a_dry_run_removes_nothing(publish, store):
    publish(9, [A])
    said = run("prune", store, "--unused-for", "5", "--dry-run", "--json")
    assert json.loads(said.stdout) == {"publications": 1, "bytes": 1000, "dry_run": True}
    assert blobs(store) == ["a"]


def test_only_old_content_that_nobody_lists_is_removed(publish, store):
    space = publish(1, [A])
    torn, new = entry("aotautograd/kd/d"), entry("aotautograd/ke/e")
    for each in (torn, new):
        space.add_content(each, b"x" * each.size)
    age(store / "space", torn, 0)
    for name in ("lease/work/00000001", "trials/host/7-ab"):
        space.mark(name)
        at_s = time.time() - 2 * housekeeping.DAY_S
        os.utime(store / "space" / name, (at_s, at_s))
    space.mark("lease/work/00000002")
    run("prune", store, "--max-size", "20GB")
    assert blobs(store) == ["a", "e"]
    assert space.names("lease/") == ["lease/work/00000002"]
    assert space.names("trials/") == []


def test_what_somebody_publishes_meanwhile_stays(publish, store):
    space = publish(9, [A])
    (found,) = housekeeping.contents(Place(str(store), None).store(), None, time.monotonic() + 9)
    space.add_content(A, b"x" * A.size)  # a publisher repairs it, and will list it
    publish(0, [B])
    housekeeping.prune(found, found.publications, time.monotonic() + 9)
    assert blobs(store) == ["a", "b"]


def test_what_cannot_be_read_stops_it(publish, store, tmp_path):
    key = tmp_path / "key"
    key.write_text("k" * 32)
    publish(9, [A], key=b"k" * 32)
    publish(5, [B], [A], key=b"k" * 32)
    no_key = run("prune", store, "--max-size", "1KB")
    assert (no_key.exit_code, no_key.stderr) == (
        1,
        "compilespan cache prune: it is signed: give the key with --key-file\n",
    )
    other = tmp_path / "other"
    other.write_text("x" * 32)
    wrong = run("prune", store, "--max-size", "1KB", "--key-file", other)
    assert wrong.exit_code == 1
    assert "its signature is missing or wrong (and 1 more); give the right key" in wrong.stderr
    assert blobs(store) == ["a", "b"]
    assert run("prune", store, "--max-size", "1KB", "--key-file", key).exit_code == 0
    assert blobs(store) == ["b"]
    assert run("ls", store, "--key-file", key).exit_code == 0


def test_a_signed_publication_is_released_with_the_key_only(publish, store, tmp_path):
    key = tmp_path / "key"
    key.write_text("k" * 32)
    space = publish(9, [A], key=b"k" * 32)
    shut(space, *space.manifests(time.monotonic() + 9))
    (row,) = json.loads(run("quarantine", "ls", store, "--json").stdout)
    refused = run("quarantine", "release", store, row["name"])
    assert (refused.exit_code, "give the key" in refused.stderr) == (1, True)
    assert run("quarantine", "release", store, row["name"], "--key-file", key).exit_code == 0
    assert len(space.manifests(time.monotonic() + 9)) == 1


def test_several_environments_share_the_size(publish, store):
    publish(9, [A], space="one")
    publish(5, [B], space="two")
    assert run("prune", store, "--max-size", "1KB").stdout.startswith("removed 1 of 2 ")
    assert blobs(store) == ["b"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give --max-size, --unused-for or both"),
        (["--max-size", "20 apples"], "'20 APPLES' is no size"),
        (["--unused-for", "-1"], "0"),
    ],
)
def test_a_usage_error_is_one_sentence(store, arguments, said):
    done = run("prune", store, *arguments)
    assert done.exit_code == 2
    assert said.lower() in done.stderr.lower()


def shut(space, name):
    (manifest,) = space.manifests(time.monotonic() + 9).values()
    trials.quarantine(space, space, name, manifest)


def test_quarantine_is_listed_and_released(publish, store):
    assert run("quarantine", "ls", store).stdout == "nothing is in quarantine\n"
    space = publish(3, [A, C], builder="pod-7:1")
    (name,) = space.manifests(time.monotonic() + 9)
    shut(space, name)
    (row,) = json.loads(run("quarantine", "ls", store, "--json").stdout)
    assert (row["published_by"], row["files"]) == ("pod-7:1", 2)
    assert row["name"] == f"space/{name[10:-5]}"
    assert row["name"] in run("quarantine", "ls", store).stdout
    unknown = run("quarantine", "release", store, "space/other")
    assert unknown.exit_code == 2
    assert unknown.stderr == f"space/other is not in quarantine; there is {row['name']}\n"
    assert run("quarantine", "release", store, row["name"]).stdout == f"released {row['name']}\n"
    assert list(space.manifests(time.monotonic() + 9)) == [name]


def test_what_is_in_quarantine_is_not_pruned_as_unlisted(publish, store):
    space = publish(3, [A])
    shut(space, *space.manifests(time.monotonic() + 9))
    old_s = time.time() - 2 * housekeeping.DAY_S
    for path in store.rglob("*"):
        os.utime(path, (old_s, old_s))
    run("prune", store, "--max-size", "20GB")
    assert blobs(store) == ["a"]


def test_a_day_that_is_none_is_no_use(publish, store):
    space = publish(9, [A])
    (name,) = space.manifests(time.monotonic() + 9)
    space.mark(f"{housekeeping.USED}{name[10:-5]}/99999999")
    (found,) = housekeeping.contents(Place(str(store), None).store(), None, time.monotonic() + 9)
    (publication,) = found.publications
    assert publication.used_ns == publication.manifest.created_ns
    assert dt.datetime.fromtimestamp(publication.used_ns / 1e9, dt.timezone.utc).year >= 2026
