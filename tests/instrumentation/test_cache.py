"""The compile cache of a fleet: what one process publishes, another one fetches, no more."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import threading
import time
import zlib
from pathlib import Path

import pytest
import torch

from compilespan.cache import fetching, namespace, sharing, trust
from compilespan.cache.configured import configured
from compilespan.cache.errors import CacheError
from compilespan.cache.manifest import decoded
from compilespan.cache.shared import SharedCache
from compilespan.cache.sharing import Share
from compilespan.cache.store import LocalStore
from support import built, headers, in_child

pytest.importorskip("fsspec")

FILES = {
    "fxgraph/ab/fabc/graph": b"graph",
    "aotautograd/adef/graph": b"autograd",
    "ab/cabc.cpp": b"int main() {}",
    "ab/cabc.so": b"\x7fELF",
}
NO_ENTRIES = (
    *("locks/cabc.lock", "ab/.12.34.tmp", "ab/cabc.so.12.34.tmp", "tmp.1a/kernel"),
    *("dynamo/code_state.pkl", "precompiled_headers/x.gch", "triton/0/XY/__grp__kernel.json"),
    *("ab/with space.cpp", "ab/with@sign.cpp", "ab/empty.cpp"),
)


def fill(directory, files=FILES):
    for path, data in files.items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(0o700 if path.endswith(".so") else 0o600)


def read(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def url(tmp_path):
    return f"file://{tmp_path}/store"


@pytest.fixture
def key_file(tmp_path):
    file = tmp_path / "key"
    file.write_text("k" * 32)
    return file


@pytest.fixture
def published(use, url):
    """Return a function that publishes the files from one machine and begins another one."""

    def publish(**options):
        fill(use("builder"))
        moved = SharedCache(url, **options).publish(0, 100.0)
        assert (moved.entries, moved.error) == (len(FILES), None)
        return use("follower")

    return publish


def blobs(tmp_path):
    return [path for path in (tmp_path / "store").rglob("*") if path.parent.parent.name == "blobs"]


def scope_of(path):
    """Return the whole name of a manifest's file in its store."""
    return str(path.relative_to(path.parents[2]))


def manifests(tmp_path):
    return list((tmp_path / "store").glob("*/manifests/*.json"))


def test_what_one_publishes_another_one_fetches(published, url):
    follower = published()
    moved = SharedCache(url).fetch()
    assert (moved.entries, moved.bytes) == (len(FILES), sum(map(len, FILES.values())))
    assert read(follower) == FILES
    assert os.access(follower / "ab/cabc.so", os.X_OK)
    assert not os.access(follower / "ab/cabc.cpp", os.X_OK)
    assert SharedCache(url).fetch().entries == 0


def test_locks_temporary_files_and_links_stay(use, url, tmp_path):
    builder = use("builder")
    fill(builder, {**FILES, **dict.fromkeys(NO_ENTRIES, b"x"), "ab/empty.cpp": b""})
    (tmp_path / "secret").write_text("secret")
    (builder / "ab/link").symlink_to(tmp_path / "secret")
    (builder / "linked").symlink_to(tmp_path)
    SharedCache(url).publish(0, 1.0)
    follower = use("follower")
    SharedCache(url).fetch()
    assert read(follower) == FILES


def test_only_what_is_new_is_published(published, url, tmp_path):
    follower = published()
    cache = SharedCache(url)
    cache.fetch()
    began_ns = time.time_ns()
    assert cache.publish(began_ns, 1.0).entries == 0
    assert len(manifests(tmp_path)) == 1
    fill(follower, {"fxgraph/new/graph": b"new"})
    assert cache.publish(began_ns, 1.0).entries == 1
    assert len(manifests(tmp_path)) == 2
    third = follower.parent / "third"
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(third)
    assert SharedCache(url).fetch().entries == len(FILES) + 1


@pytest.mark.parametrize("what", ["everybody's", "a library that is being written"])
def test_what_another_user_may_have_written_or_is_not_whole_is_not_published(use, url, what):
    builder = use("builder")
    fill(builder, {**FILES, "locks/cabc.lock": b""})
    if what == "everybody's":
        (builder / "ab/cabc.so").chmod(0o777)
        assert SharedCache(url).publish(0, 1.0).entries == len(FILES) - 1
        return
    cache = SharedCache(url)
    with (builder / "locks/cabc.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert cache.publish(0, 1.0).entries == len(FILES) - 2  # the source has the same lock
    assert cache.publish(0, 1.0).entries == 2


def test_what_was_lost_is_published_again_by_who_builds_it(published, url, tmp_path):
    follower = published()
    for blob in blobs(tmp_path):
        blob.write_bytes(b"?")
    cache = SharedCache(url)
    assert cache.fetch().entries == 0
    fill(follower)
    assert cache.publish(0, 1.0).entries == len(FILES)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(tmp_path / "third")
    assert SharedCache(url).fetch().entries == len(FILES)


def test_the_newest_manifest_lists_all(published, url, tmp_path):
    follower = published()
    cache = SharedCache(url)
    cache.fetch()
    fill(follower, {"fxgraph/new/graph": b"new"})
    cache.publish(time.time_ns(), 1.0)
    newest = max(manifests(tmp_path), key=lambda path: path.name)
    listed = decoded(newest.read_bytes(), scope_of(newest), None).entries
    assert {each.path for each in listed} == {*FILES, "fxgraph/new/graph"}


def test_what_was_there_before_is_not_published(use, url):
    fill(use("builder"))
    later_ns = time.time_ns() + 10**10
    assert SharedCache(url).publish(later_ns, 1.0).entries == 0


@pytest.mark.parametrize("fact", ["torch", "triton", "python", "machine", "cpu", "threads", "gpu"])
def test_another_environment_fetches_nothing(published, url, monkeypatch, fact):
    published()
    facts = {**namespace.facts(), fact: "another"}
    monkeypatch.setattr(namespace, "facts", lambda: facts)
    assert SharedCache(url).fetch().entries == 0


def test_these_are_the_facts():
    names = {"torch", "triton", "python", "machine", "cpu", "threads", "gpu"}
    facts = namespace.facts()
    assert facts.keys() == names
    assert all(facts[name] for name in names - {"gpu", "triton"})


def test_the_number_of_threads_is_a_fact():
    threads = torch.get_num_threads()
    before = namespace.facts()
    try:
        torch.set_num_threads(threads + 1)
        assert namespace.facts() != before
    finally:
        torch.set_num_threads(threads)
    assert namespace.facts() == before


def test_graphs_for_another_instruction_set_are_not_fetched(published, url, monkeypatch):
    """No part of torch's key names it, so such a graph would be a hit."""
    follower = published()
    monkeypatch.setattr(namespace, "instruction_set", lambda: "avx2")
    SharedCache(url).fetch()
    assert set(read(follower)) == {path for path in FILES if "graph" not in path}


def test_precompiled_headers_are_a_root_of_their_own(use, url, tmp_path):
    builder = use("builder")
    fill(headers(builder), {"cabc.h": b"#include <x>", "cabc.h.gch": b"\0" * 10**6, "locks/c": b""})
    assert SharedCache(url).publish(0, 100.0).entries == 2
    assert max(blob.stat().st_size for blob in blobs(tmp_path)) < 10**4  # they are compressed
    follower = use("follower")
    assert SharedCache(url).fetch().entries == 2
    assert set(read(headers(follower))) == {"cabc.h", "cabc.h.gch"}
    assert not follower.exists()


CHANGES = {
    "flipped": zlib.compress(b"grapf"),
    "shorter": zlib.compress(b"gr"),
    "torn": zlib.compress(b"graph")[:6],
    "not compressed": b"graph",
    "a bomb": zlib.compress(b"\0" * 10**7),
    "missing": None,
}


@pytest.mark.parametrize("change", CHANGES)
def test_content_that_changed_is_left_out(published, url, tmp_path, caplog, change):
    follower = published()
    for blob in blobs(tmp_path):
        if zlib.decompress(blob.read_bytes()) == b"graph":
            blob.unlink()
            if CHANGES[change] is not None:
                blob.write_bytes(CHANGES[change])
    moved = SharedCache(url).fetch()
    assert moved.entries == len(FILES) - 1
    assert "fxgraph/ab/fabc/graph" not in read(follower)
    assert "fxgraph/ab/fabc/graph is left out" in caplog.text


INFINITE = {
    **dict.fromkeys(("instruction_set", "builder"), ""),
    "schema": 1,
    "entries": [],
    "facts": {},
    "compile_s": 1,
    "created_ns": float("inf"),
}


@pytest.mark.parametrize(
    "change",
    [
        *(b"", b"{", b"[]", b'{"content": 1, "signature": null}', b"[" * 100_000, b"\xff"),
        json.dumps({"content": json.dumps(INFINITE), "signature": None}).encode(),
    ],
    ids=range(7),
)
def test_a_torn_manifest_is_ignored(published, url, tmp_path, caplog, change):
    published()
    (manifest,) = manifests(tmp_path)
    manifest.write_bytes(change)
    moved = SharedCache(url).fetch()
    assert (moved.entries, moved.error) == (0, None)
    assert "ignored of the compile cache: " in caplog.text
    assert ": it is torn or not a manifest" in caplog.text


class TestSignatures:
    def test_what_is_signed_with_the_key_is_fetched(self, published, url, key_file):
        published(key_file=key_file)
        assert SharedCache(url, key_file=key_file).fetch().entries == len(FILES)

    @pytest.mark.parametrize("signer", ["another", "nobody"])
    def test_what_another_key_or_nobody_signed_is_not(
        self, published, url, key_file, tmp_path, caplog, signer
    ):
        other = tmp_path / "other"
        other.write_text("o" * 32)
        follower = published(key_file=other if signer == "another" else None)
        assert SharedCache(url, key_file=key_file).fetch().entries == 0
        assert "its signature is missing or wrong" in caplog.text
        assert not follower.exists()

    def test_a_manifest_is_valid_in_its_namespace_only(
        self, published, url, key_file, tmp_path, monkeypatch, caplog
    ):
        published(key_file=key_file)
        facts = {**namespace.facts(), "threads": "another"}
        (manifest,) = manifests(tmp_path)
        moved = tmp_path / "store" / namespace.digest(facts) / "manifests" / manifest.name
        moved.parent.mkdir(parents=True)
        manifest.rename(moved)
        monkeypatch.setattr(namespace, "facts", lambda: facts)
        assert SharedCache(url, key_file=key_file).fetch().entries == 0
        assert "its signature is missing or wrong" in caplog.text

    def test_a_list_that_was_changed_is_not_signed(self, published, url, key_file, tmp_path):
        published(key_file=key_file)
        (manifest,) = manifests(tmp_path)
        values = json.loads(manifest.read_bytes())
        values["content"] = values["content"].replace("cabc.so", "cxyz.so")
        manifest.write_text(json.dumps(values))
        assert SharedCache(url, key_file=key_file).fetch().entries == 0

    def test_a_key_that_is_short_or_missing_is_an_error(self, url, tmp_path):
        with pytest.raises(CacheError, match="cannot be read"):
            SharedCache(url, key_file=tmp_path / "none")
        short = tmp_path / "short"
        short.write_text("short\n")
        with pytest.raises(CacheError, match="has 5 bytes and must have at least 32"):
            SharedCache(url, key_file=short)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "../out",
            "a/../../out",
            "/out",
            "a//b",
            "",
            ".",
            "a/.",
            "a\\b",
            "a\0b",
            "~/x",
            ".hidden",
        ),
        *("é", "/".join("abcdefghijklmnopqrs")),
    ],
)
def test_no_path_leaves_the_directory(published, url, tmp_path, caplog, path):
    follower = published()
    (manifest,) = manifests(tmp_path)
    values = json.loads(manifest.read_bytes())
    content = json.loads(values["content"])
    content["entries"][0]["path"] = path
    manifest.write_text(json.dumps({**values, "content": json.dumps(content)}))
    assert SharedCache(url).fetch().entries == 0
    assert "leaves its directory or is not valid" in caplog.text
    assert not follower.exists()


def test_no_link_is_followed(published, url, tmp_path):
    follower = published()
    outside = tmp_path / "outside"
    outside.mkdir()
    follower.mkdir()
    (follower / "fxgraph").symlink_to(outside)
    moved = SharedCache(url).fetch()
    assert "is a link, which is not followed" in moved.error
    assert not list(outside.iterdir())


def test_a_file_that_is_here_stays(published, url):
    follower = published()
    fill(follower, {"ab/cabc.cpp": b"mine"})
    SharedCache(url).fetch()
    assert (follower / "ab/cabc.cpp").read_bytes() == b"mine"


class TestTrust:
    def test_a_store_elsewhere_needs_a_key_or_a_word(self, use, caplog):
        fill(use("builder"))
        cache = SharedCache("memory://trust")
        for moved in (cache.fetch(), cache.publish(0, 1.0)):
            assert moved.entries == 0
            assert "COMPILESPAN_CACHE_KEY_FILE" in moved.error
        assert SharedCache("memory://trust", is_unsigned_allowed=True).publish(0, 1).entries

    @pytest.mark.parametrize("mode", [0o770, 0o707])
    def test_a_directory_that_others_can_write_needs_them_too(self, published, url, tmp_path, mode):
        published()
        (tmp_path / "store").chmod(mode)
        moved = SharedCache(url).fetch()
        assert moved.entries == 0
        assert "other users can write to" in moved.error

    def test_a_folder_above_it_counts(self, tmp_path):
        (tmp_path / "a/b").mkdir(parents=True)
        assert trust.objection(tmp_path / "a/b") is None
        (tmp_path / "a").chmod(0o777)
        assert str(tmp_path / "a") in trust.objection(tmp_path / "a/b")
        (tmp_path / "a").chmod(0o1777)  # as /tmp: only the owner replaces what is in it
        assert trust.objection(tmp_path / "a/b") is None

    def test_the_target_of_a_link_counts(self, published, tmp_path):
        published()
        (tmp_path / "link").symlink_to(tmp_path / "store")
        (tmp_path / "store").chmod(0o777)
        assert "other users can write" in SharedCache(f"file://{tmp_path}/link").fetch().error

    @pytest.mark.parametrize("what", ["manifest", "folder", "content"])
    def test_what_lies_in_it_counts(self, published, url, tmp_path, what):
        follower = published()
        (manifest,) = manifests(tmp_path)
        if what == "content":
            for blob in blobs(tmp_path):
                blob.chmod(0o666)
        else:
            (manifest if what == "manifest" else manifest.parent).chmod(0o777)
        assert SharedCache(url).fetch().entries == 0
        assert not follower.exists()

    def test_a_manifest_that_is_a_link_is_not_read(self, published, url, tmp_path):
        published()
        (manifest,) = manifests(tmp_path)
        manifest.rename(tmp_path / "elsewhere")
        manifest.symlink_to(tmp_path / "elsewhere")
        assert SharedCache(url).fetch().entries == 0

    @pytest.mark.parametrize("chain", ["zip::/x.zip", "simplecache::s3://x", "memory::/x"])
    def test_a_chain_of_urls_is_refused(self, chain):
        with pytest.raises(CacheError, match="is no store"):
            SharedCache(chain)

    def test_a_key_that_everybody_can_write_is_refused(self, url, key_file):
        key_file.chmod(0o666)
        with pytest.raises(CacheError, match="everybody can write the key file"):
            SharedCache(url, key_file=key_file)


class TestModes:
    def test_who_only_reads_publishes_nothing(self, use, url, tmp_path):
        fill(use("builder"))
        assert SharedCache(url, mode="read").publish(0, 1.0).entries == 0
        assert not (tmp_path / "store").exists()

    def test_who_only_writes_fetches_nothing(self, published, url):
        published()
        assert SharedCache(url, mode="write").fetch().entries == 0


class TestFaults:
    def test_a_store_that_does_not_answer_costs_its_bound(self, use, url, monkeypatch, caplog):
        use("follower")
        cache = SharedCache(url, timeout_s=0.2)
        over = threading.Event()
        monkeypatch.setattr(LocalStore, "names", lambda *_: over.wait(60))
        began = time.monotonic()
        moved = cache.fetch()
        over.set()
        assert time.monotonic() - began < 5
        assert "did not answer in time" in moved.error
        assert "The program continues without it" in caplog.text

    def test_a_store_that_raises_anything_costs_a_warning(self, use, url, monkeypatch, caplog):
        use("follower")
        cache = SharedCache(url)
        monkeypatch.setattr(LocalStore, "names", lambda *_: 1 / 0)
        assert "ZeroDivisionError" in cache.fetch().error
        assert "The program continues without it" in caplog.text

    def test_fetching_ends_where_it_would_cost_more_than_compiling(
        self, published, url, monkeypatch
    ):
        published()
        monkeypatch.setattr(fetching, "_MIN_FETCH_S", 0.2)
        monkeypatch.setattr(fetching, "sum", lambda _: 0.1, raising=False)
        cache = SharedCache(url)
        over = threading.Event()
        monkeypatch.setattr(LocalStore, "read", slow_after_manifests(LocalStore.read, over))
        assert "did not answer in time" in cache.fetch().error
        over.set()

    def test_a_full_disk_ends_the_fetch(self, published, url, monkeypatch):
        published()

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(fetching, "place", full)
        assert "No space left" in SharedCache(url).fetch().error

    def test_a_fetch_that_is_cut_off_leaves_no_part(self, published, url, monkeypatch):
        follower = published()
        monkeypatch.setattr(Path, "replace", lambda *_: 1 / 0)
        assert SharedCache(url).fetch().entries == 0
        for thread in threading.enumerate():  # others end what they have begun
            if thread.name == "compilespan-cache":
                thread.join(5)
        assert read(follower) == {}

    def test_an_upload_that_is_cut_off_lists_nothing(self, use, url, tmp_path, monkeypatch):
        fill(use("builder"))
        cache = SharedCache(url)
        write = LocalStore.write

        def cut(store, name, data):
            if "manifests" in name:
                raise OSError("connection reset")
            write(store, name, data)

        monkeypatch.setattr(LocalStore, "write", cut)
        assert "connection reset" in cache.publish(0, 1.0).error
        use("follower")
        assert SharedCache(url).fetch().entries == 0
        monkeypatch.undo()

    def test_it_works_with_a_thousand_entries(self, use, url):
        files = {f"fxgraph/{number % 32}/f{number}/graph": b"%d" % number for number in range(1000)}
        fill(use("builder"), files)
        assert SharedCache(url).publish(0, 1000.0).entries == 1000
        follower = use("follower")
        assert SharedCache(url).fetch().entries == 1000
        assert read(follower) == files

    def test_two_versions_of_torch_share_a_store(self, published, url, monkeypatch, tmp_path):
        follower = published()
        facts = namespace.facts()
        monkeypatch.setattr(namespace, "facts", lambda: {**facts, "torch": "9.9"})
        fill(follower, {"fxgraph/nine/graph": b"nine"})
        assert SharedCache(url).publish(0, 1.0).entries == 1
        monkeypatch.setattr(namespace, "facts", lambda: facts)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(tmp_path / "third")
        SharedCache(url).fetch()
        assert read(tmp_path / "third") == FILES

    def test_a_cache_directory_that_cannot_be_written_costs_a_warning(
        self, published, url, monkeypatch
    ):
        follower = published()
        follower.write_text("a file in its place")
        assert SharedCache(url).fetch().error is not None


def slow_after_manifests(read_file, over):
    def slow(store, name, max_bytes):
        if "manifests" not in name:
            over.wait(20)
        return read_file(store, name, max_bytes)

    return slow


class TestSettings:
    def test_without_a_url_nothing_is_shared(self, monkeypatch):
        monkeypatch.delenv("COMPILESPAN_CACHE_URL", raising=False)
        assert configured() is None

    def test_a_mode_that_is_none_is_an_error(self, monkeypatch, url):
        monkeypatch.setenv("COMPILESPAN_CACHE_MODE", "append")
        with pytest.raises(CacheError, match="must be one of read, write, readwrite"):
            configured(url)

    def test_a_kind_of_url_that_nobody_knows_is_an_error(self):
        with pytest.raises(CacheError, match="nothing"):
            configured("nothing://there")

    def test_a_password_is_not_logged(self, use, caplog):
        use("follower")
        with caplog.at_level(logging.WARNING):
            SharedCache("ftp://user:secret@127.0.0.1:9/x").fetch()
        assert "secret" not in caplog.text


def test_a_manifest_is_read_back(published, url, tmp_path):
    published()
    (file,) = manifests(tmp_path)
    manifest = decoded(file.read_bytes(), scope_of(file), None)
    assert manifest.facts == namespace.facts()
    assert (manifest.instruction_set, manifest.compile_s) == ("avx512", 100.0)
    assert {each.path for each in manifest.entries} == set(FILES)


class TestSharing:
    """When a process fetches and publishes."""

    @pytest.fixture
    def share(self, use, url):
        fill(use("builder"))
        share = Share(SharedCache(url))
        share._since_ns = 0
        return share

    def test_it_publishes_only_after_something_was_built(self, share, tmp_path):
        share.publish()
        assert manifests(tmp_path) == []
        built()
        share.publish()
        share.publish()
        assert len(manifests(tmp_path)) == 1

    def test_what_failed_is_tried_again(self, share, tmp_path, monkeypatch):
        built()
        with monkeypatch.context() as patch:
            patch.setattr(LocalStore, "write", lambda *_: 1 / 0)
            share.publish()
        assert manifests(tmp_path) == []
        share.publish()
        assert len(manifests(tmp_path)) == 1

    def test_the_cost_of_each_publication_is_its_own(self, share, tmp_path, use):
        built(duration_s=5.0)
        share.publish()
        fill(use("builder"), {"fxgraph/new/graph": b"new"})
        built(duration_s=2.0)
        share.publish()
        costs = [
            decoded(path.read_bytes(), scope_of(path), None).compile_s
            for path in sorted(manifests(tmp_path), key=lambda path: path.name)
        ]
        assert costs == pytest.approx([5.0, 2.0])

    def test_a_forked_child_neither_waits_for_its_parents_lock_nor_publishes(self, share, tmp_path):
        built()
        with share._lock:
            assert in_child(share.publish_at_exit) is None
        assert manifests(tmp_path) == []

    def test_at_its_end_a_process_waits_briefly(self, share, monkeypatch):
        monkeypatch.setattr(sharing, "EXIT_S", 0.2)
        over = threading.Event()
        monkeypatch.setattr(LocalStore, "write", lambda *_: over.wait(60))
        built()
        began = time.monotonic()
        share.publish_at_exit()
        over.set()
        assert time.monotonic() - began < 5

    def test_the_url_of_the_environment_is_used_once(self, url, monkeypatch):
        monkeypatch.setenv("COMPILESPAN_CACHE_URL", url)
        assert sharing.share_of(url) is None
        assert sharing.share_of(None) is None


class TestLocalStore:
    """Names of files in a directory that others may write, too."""

    @pytest.fixture
    def store(self, tmp_path):
        (tmp_path / "victim").mkdir()
        (tmp_path / "victim/7-abcdef01").write_text("mine")
        (tmp_path / "store").mkdir()
        (tmp_path / "store/link").symlink_to(tmp_path / "victim")
        return LocalStore(tmp_path / "store", is_checked=False)

    @pytest.mark.parametrize("folder", ["link/", "../victim/", "link/deeper/", "a/../../victim/"])
    def test_nothing_outside_is_listed_read_or_removed(self, store, folder, tmp_path):
        name = f"{folder}7-abcdef01"
        for call in (
            lambda: store.names(folder),
            lambda: store.read(name, 10),
            lambda: store.write(name, b"theirs"),
            lambda: store.create(name),
            lambda: store.remove(name),
        ):
            with pytest.raises(CacheError, match="leaves the store"):
                call()
        assert store.age_s(name) is None
        assert (tmp_path / "victim/7-abcdef01").read_text() == "mine"

    def test_a_link_is_no_file_and_is_removed_itself(self, store, tmp_path):
        (tmp_path / "store/file").symlink_to(tmp_path / "victim/7-abcdef01")
        with pytest.raises(OSError, match="symbolic links"):
            store.read("file", 10)
        store.remove("file")
        assert (tmp_path / "victim/7-abcdef01").read_text() == "mine"

    def test_a_pipe_does_not_keep_a_reader_waiting(self, store, tmp_path):
        os.mkfifo(tmp_path / "store/pipe")
        with pytest.raises(CacheError, match="pipe is no file"):
            store.read("pipe", 10)

    def test_a_file_is_created_once_and_removed(self, store):
        assert store.create("a/b")
        assert not store.create("a/b")
        assert store.age_s("a/b") < 60
        store.remove("a/b")
        store.remove("a/b")
        assert store.age_s("a/b") is None


def test_of_many_manifests_that_are_ignored_one_is_shown(published, url, tmp_path, caplog):
    published()
    (manifest,) = manifests(tmp_path)
    for number in range(5):
        manifest.with_name(f"{number:020d}-abcdef01.json").write_bytes(b"")
    assert SharedCache(url).fetch().entries == len(FILES)
    (line,) = [line for line in caplog.messages if "ignored" in line]
    assert line.endswith("(and 4 more)")
