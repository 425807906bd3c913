"""A process's summary at the end of its journal."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bad_journals
from compilespan import get_ledger, mark_ready, monitor_torch_compile
from compilespan.journal.appending import append
from compilespan.journal.directory import StateDirectory
from compilespan.journal.reader import ProcessJournal
from compilespan.journal.summary import Summary
from compilespan.journal.writer import open_journal
from compilespan.ledger.active import CompileBegun
from compilespan.ledger.entries import Mark
from compilespan.ledger.intervals import IntervalUnion
from compilespan.ledger.records import CompileEvent
from compilespan.ledger.totals import MAX_KEYS, TotalsBuilder
from compilespan.process import instance_id
from support import record

LOADED = Mark("load", 10**18, 10**18 + 15 * 10**8, "weights", 7)


def ended(tmp_path):
    """Return the journal of this process after its end."""
    journal = open_journal(tmp_path)
    for name, is_encoder in (("tower", True), ("llama", False), ("llama", False)):
        with monitor_torch_compile(name, is_encoder=is_encoder, kind="compile"):
            pass
    get_ledger().readiness.note(LOADED)
    get_ledger().readiness.note(Mark("wait", 2 * 10**18, 2 * 10**18 + 10**6))  # too short to keep
    mark_ready()
    journal.close("shutdown")
    get_ledger().journal = None
    return journal.path


def rows(totals):
    built = totals.build()
    return built.encoder, built.language_model, built.other, built.total


def dead(tmp_path, *lines, instance="bad"):
    path = tmp_path / f"20200101T000000-{instance}-1.jsonl"
    path.write_bytes(bad_journals.with_lines(*lines, instance=instance))
    return path


def compiled(count, gap_ns=10**9):
    return [
        {
            "type": "end",
            "key": key,
            "record": record(start_ns=10**18 + key * (gap_ns + 100), duration_ns=100).to_json(),
        }
        for key in range(count)
    ]


def test_what_a_process_leaves_in_its_last_line_is_what_its_journal_says(tmp_path):
    path = ended(tmp_path)
    summary = Summary.at_end_of(path)
    read = Summary.of(ProcessJournal(path).refresh().snapshot())
    assert rows(summary.totals) == rows(read.totals) == rows(totals_of_ledger())
    assert summary.exit_reason == read.exit_reason == "shutdown"
    assert summary.ready_after_s == read.ready_after_s == get_ledger().readiness.after_s
    assert (list(summary.marks), read.marks[0]) == ([LOADED], LOADED)
    for each in (summary, read):
        assert {part for part, _ in each.doer.intervals} == {"compile"}
        assert not each.is_running
        assert each.interrupted == ()
    assert dict(summary.process) == {
        key: value for key, value in read.process.items() if key != "is_locked"
    }


def totals_of_ledger():
    builder = TotalsBuilder()
    get_ledger().add_totals_to(builder)
    return builder


def test_a_journal_that_goes_on_or_was_torn_has_none(tmp_path):
    path = ended(tmp_path)
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(json.dumps(bad_journals.BEGIN).encode() + b"\n")
    assert Summary.at_end_of(path) is None
    path.write_bytes(whole[:-40])
    assert Summary.at_end_of(path) is None
    path.write_bytes(b"")
    assert Summary.at_end_of(path) is None
    path.unlink()
    assert Summary.at_end_of(path) is None


def test_to_a_dead_ones_journal_it_is_added_once_and_its_last_sign_of_life_stays(tmp_path):
    path = dead(tmp_path, *compiled(3), bad_journals.BEGIN)
    os.utime(path, ns=(10**18, 10**18 + 5 * 10**9))
    journal = ProcessJournal(path).refresh()
    summary = Summary.of(journal.snapshot())
    assert append(journal, "summary", summary.line())
    assert not append(ProcessJournal(path), "summary", summary.line())
    assert append(journal, "reported")
    assert path.stat().st_mtime_ns == 10**18 + 5 * 10**9
    found = Summary.at_end_of(path)
    assert rows(found.totals) == rows(summary.totals)
    assert found.exit_reason is None
    (begun,) = found.interrupted
    assert (begun.name, begun.elapsed_s) == ("m", 5.0)
    (read,) = StateDirectory(tmp_path).processes()
    assert read.is_complete
    assert read.interrupted == found.interrupted


def test_of_many_intervals_those_between_the_longest_gaps_are_kept(tmp_path):
    lines = compiled(600, gap_ns=10) + compiled(2, gap_ns=10**12)
    read = Summary.of(ProcessJournal(dead(tmp_path, *lines)).refresh().snapshot())
    line = json.dumps({"type": "summary", **read.line()})
    assert len(line) < 64 * 1024
    (tmp_path / "20200101T000000-bad-1.jsonl").write_text(line + "\n")
    found = Summary.at_end_of(tmp_path / "20200101T000000-bad-1.jsonl").totals.build().total
    exact = read.totals.build().total
    assert found.compiles == exact.compiles == 602
    assert exact.wall_s < found.wall_s <= exact.wall_s + 100 * 10 / 1e9


@given(
    spans=st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 30)), max_size=60),
    most=st.integers(1, 70),
)
def test_a_flat_union_is_never_shorter_and_never_longer_than_from_start_to_end(spans, most):
    union = IntervalUnion()
    for start, length in spans:
        union.add(start, start + length)
    times = union.flat(most)
    assert len(times) <= 2 * most
    assert times == sorted(times)
    length = sum(times[1::2]) - sum(times[::2])
    assert union.total_ns <= length
    if spans:
        assert (times[0], times[-1]) == (
            min(start for start, _ in spans),
            max(start + length for start, length in spans),
        )
    if len(times) < 2 * most:
        assert length == union.total_ns


VALUES = st.none() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=3)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_summary_can_break_a_reader(tmp_path_factory, data):
    directory = tmp_path_factory.mktemp("fuzzed")
    path = dead(directory, *compiled(2), bad_journals.BEGIN)
    line = Summary.of(ProcessJournal(path).refresh().snapshot()).line()
    values = json.loads(json.dumps({"type": "summary", **line}))
    target = values
    while True:
        key = data.draw(st.sampled_from(sorted(target)))
        inner = target[key]
        if isinstance(inner, list) and inner and isinstance(inner[0], dict):
            inner = inner[0]
        if isinstance(inner, dict) and inner and data.draw(st.booleans()):
            target = inner
            continue
        target[key] = data.draw(VALUES)
        break
    with path.open("a") as file:
        file.write(json.dumps(values) + "\n")
    if (found := Summary.at_end_of(path)) is not None:
        rows(found.totals)
        json.dumps(found.line())


INSTANCES = ["a/b", "a_b", "a:b", "é", "x" * 150, "x" * 151, "caf\udce9", "y" * 300]


@pytest.mark.parametrize("instance", INSTANCES)
def test_no_two_instances_share_the_name_of_a_file(tmp_path, monkeypatch, instance):
    monkeypatch.setenv("COMPILESPAN_INSTANCE_ID", instance)
    journal = open_journal(tmp_path)
    assert journal.flush()
    others = [each for each in INSTANCES if each != instance]
    assert StateDirectory(tmp_path).processes(*others) == []
    (process,) = StateDirectory(tmp_path).processes(instance_id())
    assert process.process["instance"] == instance_id()


def test_a_file_that_says_another_instance_than_its_name_is_not_read(tmp_path):
    path = dead(tmp_path, *compiled(3), instance="other")
    path = path.rename(tmp_path / "20200101T000000-mine-1.jsonl")
    told = []
    journal = ProcessJournal(path, on_record=told.append).refresh()
    assert (journal.process, journal.is_complete, told) == ({}, False, [])


def test_a_summary_of_another_instance_than_its_file_says_is_not_taken(tmp_path):
    path = ended(tmp_path)
    assert Summary.at_end_of(path) is not None
    assert Summary.at_end_of(path.rename(tmp_path / "20200101T000000-mine-1.jsonl")) is None
    assert Summary.at_end_of(tmp_path / "20200101T000000-mine-1.jsonl") is None


def keyed(key, result="miss"):
    attributes = {"torch.compile.cache.result": result, "torch.compile.cache.key": key}
    counts = {"cache_misses": int(result == "miss"), "cache_hits": int(result == "hit")}
    event = CompileEvent("torch.compile.graph", 1, attributes)
    return record(events=(event,), **counts, cache_result=result)


def test_it_has_the_keys_of_graphs_that_a_cache_has(tmp_path):
    """So the next start knows what it should have found, without reading the whole journal."""
    journal = open_journal(tmp_path)
    ledger = get_ledger()
    for each in (keyed("one"), keyed("two", "hit"), keyed("one"), record(cache_misses=0)):
        key = ledger.prepare()
        ledger.begin(CompileBegun(key, "a", "other", 1, 1))
        ledger.end(key, each)
    journal.close("shutdown")
    ledger.journal = None
    assert list(Summary.at_end_of(journal.path).totals.graph_keys) == ["one", "two"]
    assert list(ProcessJournal(journal.path).refresh().builder.graph_keys) == ["one", "two"]


def test_so_many_keys_are_kept_and_no_more():
    builder = TotalsBuilder()
    for number in range(MAX_KEYS + 10):
        builder.add(keyed(str(number)))
    assert len(builder.graph_keys) == MAX_KEYS
    assert builder.copy().graph_keys == builder.graph_keys
