"""The one reader: a thread that hands out snapshots of a state directory."""

from __future__ import annotations

import gc
import json
import os
import threading
import time
import weakref

import pytest
from prometheus_client.parser import text_string_to_metric_families

import bad_journals
from compilespan import get_ledger
from compilespan.journal import appending, files, reader, summary
from compilespan.journal.reader import ProcessJournal
from compilespan.journal.summary import Summary
from compilespan.journal.writer import open_journal
from compilespan.ledger.active import CompileBegun
from compilespan.sdk.deaths import report_deaths
from compilespan_service.reading import listing, past
from compilespan_service.reading.reader import Reader, reader_of
from serving import Model, wait_until
from support import record


def write(directory, name, *lines, instance, pid=1):
    directory.mkdir(exist_ok=True)
    path = directory / f"{name}-{instance}-{pid}.jsonl"
    content = bad_journals.with_lines(*lines, instance=instance)
    path.write_bytes(content.replace(b'"pid": 4194303', f'"pid": {pid}'.encode()))
    return path


def compiles(count, **changes):
    return [
        {"type": "end", "key": key, "record": record(**changes).to_json()} for key in range(count)
    ]


def count_in(client):
    return sum(
        sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.name == "torch_compile_duration_seconds_count"
    )


def instances(client):
    return [start["instance"] for start in client.get("/history").json()]


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


def test_only_the_readers_thread_parses(serve, state, monkeypatch):
    write(state, "20200101T000000", *compiles(2), instance="test-instance")
    for number in range(3):
        write(state, f"2020010{number + 1}T000000", *compiles(2), instance=f"old-{number}")
    threads = set()
    parsed = reader.parsed

    def noting(line):
        threads.add(threading.current_thread().name)
        return parsed(line)

    for module in (reader, summary, files):
        monkeypatch.setattr(module, "parsed", noting)
    client = serve(Model())
    wait_until(lambda: len(instances(client)) == 4)
    for path in ("totals", "compiles", "compiles/trace.json", "metrics", "readyz", "warmup/jobs"):
        assert client.get(f"/{path}").status_code in (200, 503)
    client.post("/warmup?wait=60")
    # The journal's own thread reads the first lines of what it may delete.
    assert threads - {"compilespan-journal"} == {"compilespan-reader"}


def test_nobody_waits_for_a_reader_that_hangs(serve, state, monkeypatch):
    client = serve(Model())
    assert client.get("/totals").json()["scope"]["processes"] == 1
    go_on, hangs = threading.Event(), threading.Event()
    refresh = ProcessJournal.refresh

    def hanging(self, *args):
        hangs.set()
        assert go_on.wait(60)
        return refresh(self, *args)

    monkeypatch.setattr(ProcessJournal, "refresh", hanging)
    write(state, "20200101T000000", *compiles(2), instance="test-instance")
    wait_until(hangs.is_set)
    for path in ("totals", "compiles", "compiles/trace.json", "metrics", "history", "warmup/jobs"):
        assert client.get(f"/{path}").status_code == 200
    for path in ("livez", "startupz", "readyz"):
        assert client.get(f"/{path}").json()["state"] == "cold"
    assert client.post("/warmup?wait=60").status_code == 200
    assert client.get("/totals").json()["total"]["compiles"] == 3
    go_on.set()
    wait_until(lambda: client.get("/totals").json()["total"]["compiles"] == 5)


def test_an_old_start_that_said_its_end_costs_its_tail(serve, state, monkeypatch):
    path = write(state, "20200101T000000", *compiles(3), instance="old")
    whole = Summary.of(ProcessJournal(path).refresh().snapshot())
    with path.open("a") as file:
        file.write(json.dumps({"type": "exit", "reason": "shutdown"}) + "\n")
        line = {**whole.line(), "exit_reason": "shutdown"}
        file.write(json.dumps({"type": "summary", **line}) + "\n")
    read = []
    monkeypatch.setattr(
        past, "ProcessJournal", lambda path, **_: read.append(path) or ProcessJournal(path)
    )
    client = serve(Model())
    wait_until(lambda: instances(client) == ["test-instance", "old"])
    old = client.get("/history").json()[1]
    assert (old["ended"], old["total"]["compiles"]) == ("shutdown", 3)
    assert read == []


def test_a_killed_start_is_read_whole_once_and_then_ends_with_its_summary(serve, state):
    path = write(state, "20200101T000000", *compiles(3), bad_journals.BEGIN, instance="old")
    lived_until = path.stat().st_mtime_ns
    client = serve(Model())
    wait_until(lambda: instances(client) == ["test-instance", "old"])
    old = client.get("/history").json()[1]
    assert (old["ended"], old["total"]["compiles"], len(old["interrupted"])) == ("killed", 3, 1)
    wait_until(lambda: Summary.at_end_of(path) is not None)
    assert path.stat().st_mtime_ns == lived_until
    again = serve(Model())
    wait_until(lambda: len(instances(again)) == 2)
    assert again.get("/history").json()[1] == old


def test_a_directory_that_is_not_ours_to_write_has_a_history_too(serve, state, monkeypatch):
    def refused(*_):
        raise PermissionError

    monkeypatch.setattr(appending, "append", refused)
    path = write(state, "20200101T000000", *compiles(3), instance="old")
    before = path.read_bytes()
    client = serve(Model())
    wait_until(lambda: instances(client) == ["test-instance", "old"])
    assert path.read_bytes() == before


def test_the_newest_starts_are_read_and_no_others(serve, state, monkeypatch):
    monkeypatch.setattr(past, "MAX_STARTS", 5)
    for number in range(12):
        write(state, f"202001{number + 1:02}T000000", *compiles(1), instance=f"old-{number}")
    client = serve(Model())
    newest = [f"old-{number}" for number in (11, 10, 9, 8, 7)]
    wait_until(lambda: len(instances(client)) == 6)
    assert sorted(instances(client)[1:]) == sorted(newest)
    read = {path.name for path in state.iterdir() if Summary.at_end_of(path) is not None}
    assert read == {f"202001{number + 1:02}T000000-old-{number}-1.jsonl" for number in range(7, 12)}


def test_a_start_of_several_processes_is_told_when_all_are_read(tmp_path):
    for pid in (1, 2, 3):
        changes = {"pid": pid, "component": "encoder", "start_ns": 10**18, "duration_ns": 10**9}
        write(tmp_path, "20200101T000000", *compiles(2, **changes), instance="old", pid=pid)
    starts = past.PastStarts()
    starts.look(sorted(tmp_path.iterdir(), reverse=True))
    told = set()
    while starts.step(0.0):
        told.add(len(starts.summaries))
    told.add(len(starts.summaries))
    assert told <= {0, 3}
    assert len(starts.summaries) == 3


def test_records_before_the_first_scrape_are_all_counted(serve, state):
    """More than are kept: of another process that was there before, and of this one."""
    write(state, "20200101T000000", *compiles(6000), instance="test-instance")
    client = serve(Model())
    ledger = get_ledger()
    wait_until(lambda: count_in(client) == 6000)
    for _ in range(6000):
        key = ledger.prepare()
        ledger.begin(CompileBegun(key, "a", "other", 1, 1))
        ledger.end(key, record())
    wait_until(lambda: count_in(client) == 12_000)
    assert client.get("/totals").json()["total"]["compiles"] == 12_000


def test_what_this_process_compiled_before_anybody_scraped_is_counted(serve):
    client = serve(Model())
    ledger = get_ledger()
    wait_until(lambda: any("reader" in thread.name for thread in threading.enumerate()))
    client.get("/history")  # the reader has begun, and made what counts
    for _ in range(6000):
        key = ledger.prepare()
        ledger.begin(CompileBegun(key, "a", "other", 1, 1))
        ledger.end(key, record())
    wait_until(lambda: count_in(client) == 6000)


@pytest.mark.parametrize(
    "content",
    [
        b'{"type":"process","format":2,"instance":"test-instance"}\n',
        b"not a journal\n",
        bad_journals.with_lines(*compiles(2), instance="another"),
    ],
)
def test_what_bears_our_name_and_cannot_be_read_makes_totals_incomplete(
    serve, state, content, caplog
):
    state.mkdir()
    client = serve(Model())
    assert client.get("/totals").json()["scope"]["complete"] is True
    (state / "20200101T000000-test-instance-1.jsonl").write_bytes(content)
    wait_until(lambda: client.get("/totals").json()["scope"]["complete"] is False)
    assert client.get("/totals").json()["total"]["compiles"] == 0
    assert client.get("/totals?scope=process").json()["scope"]["complete"] is True
    assert count_in(client) == 0
    assert caplog.text.count("is not read completely") == 1


def test_a_file_that_has_no_line_yet_is_no_damage(serve, state):
    path = write(state, "20200101T000000", instance="test-instance")
    content = path.read_bytes()
    path.write_bytes(b"")
    client = serve(Model())
    assert client.get("/totals").json()["scope"] == {
        **client.get("/totals").json()["scope"],
        "processes": 1,
        "complete": True,
    }
    path.write_bytes(content)
    wait_until(lambda: client.get("/totals").json()["scope"]["processes"] == 2)


def test_a_worker_that_died_before_it_was_ready_is_reported_once(
    instrumented, exported, serve, state
):
    started = {**bad_journals.STARTUP, "type": "startup"}
    header = {**bad_journals.HEADER, "instance": "test-instance", "pid": 2}
    header["started_ns"] = time.time_ns()
    state.mkdir()
    path = state / "20200101T000000-test-instance-2.jsonl"
    path.write_bytes(b"".join(bad_journals.line(each) + b"\n" for each in (header, started)))
    client = serve(Model())
    wait_until(lambda: b"reported" in path.read_bytes())
    wait_until(lambda: client.get("/totals").json()["scope"]["processes"] == 2)
    path.touch()
    client.get("/totals")
    found = [span for span in exported.spans if span.name == "compilespan.startup"]
    assert [span.attributes["compilespan.startup.outcome"] for span in found] == ["died"]


def test_two_who_read_a_directory_share_its_reader_and_it_ends_with_the_last(tmp_path):
    one = reader_of(tmp_path)
    assert reader_of(tmp_path) is one
    assert reader_of(tmp_path / "other") is not one
    before = set(threading.enumerate())
    one.start()
    one.start()
    assert one.refreshed(30)
    assert one.snapshot.processes == ()
    threads = list(set(threading.enumerate()) - before)
    assert [each.name for each in threads] == ["compilespan-reader"]
    reference = weakref.ref(one)
    del one
    wait_until(lambda: gc.collect() is not None and reference() is None)
    wait_until(lambda: not threads[0].is_alive())


def test_one_follower_that_raises_costs_the_others_nothing(tmp_path):
    open_journal(tmp_path)
    write(tmp_path, "20200101T000000", *compiles(3), instance="test-instance")
    found = []

    def raising(_):
        raise ValueError

    reading = Reader(tmp_path)
    reading.follow(lambda: 1 / 0, raising, raising)
    reading.follow(list, found.append, found.append)
    for _ in range(100):  # each reads for half a millisecond
        reading.look()
    assert len(found) == 3


def test_a_fault_of_ours_in_one_file_costs_that_file_and_makes_totals_incomplete(
    serve, state, monkeypatch
):
    broken = write(state, "20200101T000000", *compiles(2), instance="test-instance")
    write(state, "20200102T000000", *compiles(2), instance="test-instance", pid=2)
    write(state, "20200103T000000", *compiles(2), instance="newer")
    write(state, "20200101T000000", *compiles(2), instance="older")
    refresh = ProcessJournal.refresh

    def failing(self, *args):
        if self.path == broken or "newer" in self.path.name:
            raise ZeroDivisionError
        return refresh(self, *args)

    monkeypatch.setattr(ProcessJournal, "refresh", failing)
    client = serve(Model())
    wait_until(lambda: client.get("/totals").json()["total"]["compiles"] == 2)
    assert client.get("/totals").json()["scope"]["complete"] is False
    wait_until(lambda: instances(client) == ["test-instance", "older"])


def test_what_was_counted_is_not_counted_again_if_its_file_or_folder_was_away(serve, state):
    client = serve(Model())
    path = write(state, "20200101T000000", *compiles(10), instance="test-instance")
    wait_until(lambda: count_in(client) == 10)
    for thing in (path, state):
        away = thing.rename(thing.with_name(thing.name + ".away"))
        wait_until(lambda: client.get("/totals").json()["scope"]["complete"] is False)
        assert client.get("/totals").json()["total"]["compiles"] == 10
        away.rename(thing)
        wait_until(lambda: client.get("/totals").json()["scope"]["complete"] is True)
        assert client.get("/totals").json()["total"]["compiles"] == 10
        assert count_in(client) == 10


@pytest.mark.parametrize("instance", ["test-instance", "old"])
def test_a_file_without_an_end_ends_no_reading(serve, state, instance):
    endless = write(state, "20200601T000000", instance=instance)
    with endless.open("r+b") as file:
        file.truncate(2**42)
    write(state, "20200101T000000", *compiles(2), instance="test-instance", pid=2)
    write(state, "20200101T000000", *compiles(2), instance="older")
    client = serve(Model())
    wait_until(lambda: client.get("/totals").json()["total"]["compiles"] == 2, timeout_s=60)
    wait_until(lambda: "older" in instances(client), timeout_s=60)


def test_totals_are_incomplete_while_the_reader_is_behind(serve, state, monkeypatch):
    client = serve(Model())
    wait_until(lambda: client.get("/totals").json()["scope"]["complete"] is True)
    go_on = threading.Event()
    refresh = ProcessJournal.refresh

    def slow(self, *args):
        assert go_on.wait(60)
        return refresh(self, *args)

    monkeypatch.setattr(ProcessJournal, "refresh", slow)
    write(state, "20200101T000000", *compiles(2), instance="test-instance")
    wait_until(lambda: client.get("/totals").json()["scope"]["complete"] is False)
    go_on.set()
    wait_until(lambda: client.get("/totals").json()["scope"]["complete"] is True)
    assert client.get("/totals").json()["total"]["compiles"] == 2


def test_a_directory_is_listed_again_only_if_it_changed(tmp_path, monkeypatch):
    times = []

    def listed(directory):
        if directory == tmp_path:  # readers of earlier tests may still run
            times.append(directory)
        return files.listed(directory)

    monkeypatch.setattr(listing, "listed", listed)
    write(tmp_path, "20200101T000000", instance="a")
    os.utime(tmp_path, (1, 1))
    found = listing.Listing(tmp_path)
    for _ in range(5):
        assert [name.instance for name in found.names().values()] == ["a"]
    assert len(times) == 1
    write(tmp_path, "20200102T000000", instance="b")
    assert [name.instance for name in found.names().values()] == ["a", "b"]
    # One that was changed just now may change again within the clock of its file system.
    found.names()
    assert len(times) == 3


def test_who_reports_deaths_without_a_service_sums_up_what_it_read(tmp_path, exported):
    now = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    path = write(tmp_path, now, {**bad_journals.STARTUP, "type": "startup"}, instance="old")
    content = path.read_bytes().replace(b"1000000000000000000", str(time.time_ns()).encode())
    path.write_bytes(content)
    assert report_deaths(tmp_path) == 1
    assert Summary.at_end_of(path) is not None
    assert report_deaths(tmp_path) == 0
    (span,) = [span for span in exported.spans if span.name == "compilespan.startup"]
    assert span.attributes["compilespan.startup.outcome"] == "died"
