"""What a file of a state directory may hold: it is checked where it enters."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bad_journals
from compilespan import get_ledger, monitor_torch_compile
from compilespan.journal import reader
from compilespan.journal.appending import append
from compilespan.journal.directory import StateDirectory
from compilespan.journal.files import journals, prune
from compilespan.journal.lines import LineError, parsed
from compilespan.journal.reader import ProcessJournal
from compilespan.journal.writer import open_journal
from compilespan.ledger.records import GraphBreak
from compilespan.ledger.totals import TotalsBuilder
from support import interrupted

BAD = bad_journals.contents("bad")


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_read_as_far_as_it_is_good_and_complained_of_once(tmp_path, caplog, what):
    path = tmp_path / "20200101T000000-bad-1.jsonl"
    path.write_bytes(BAD[what])
    jobs = []
    process = ProcessJournal(path, on_job=jobs.append).refresh()
    for _ in range(3):
        process.refresh()
        StateDirectory(tmp_path).processes()
    assert process.builder.build() == TotalsBuilder().build()
    assert process.records == []
    assert jobs == []
    for begun in process.in_progress:
        assert json.dumps(begun.name).isascii()
    if what not in ("nothing", "no end", "no line at all", "progress of nothing"):
        assert not process.is_complete
        assert caplog.text.count("is not read completely") == 1


def test_there_are_sixty():
    assert len(BAD) >= 60


def test_beside_bad_files_the_numbers_are_right(tmp_path):
    count = bad_journals.write(tmp_path, "bad")
    journal = open_journal(tmp_path)
    with monitor_torch_compile("good", kind="compile"):
        pass
    assert journal.flush()
    assert len(journals(tmp_path)) == count + 1
    builder = TotalsBuilder()
    for process in StateDirectory(tmp_path).processes():
        builder.update(process.builder)
    assert builder.build().total == get_ledger().totals().total
    assert len(interrupted(StateDirectory(tmp_path))) <= 2


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=9), children, max_size=4)
    ),
    max_leaves=8,
)
LINES = [
    bad_journals.HEADER,
    bad_journals.BEGIN,
    {"type": "end", "key": 1, "record": bad_journals.RECORD},
    {"type": "ready", "time_ns": 1, "after_s": 1.5},
    {"type": "job", "id": "1", "state": "failed", "elapsed_s": 1.5},
]


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_line_can_break_a_reader(tmp_path_factory, data):
    """Lines as the writer writes them, a value of which was exchanged for any other."""
    values = json.loads(json.dumps(data.draw(st.sampled_from(LINES))))
    target = values
    while True:
        key = data.draw(st.sampled_from(sorted(target)))
        if isinstance(target[key], dict) and target[key] and data.draw(st.booleans()):
            target = target[key]
            continue
        target[key] = data.draw(VALUES)
        break
    directory = tmp_path_factory.mktemp("fuzzed")
    path = directory / "20200101T000000-bad-1.jsonl"
    header = json.dumps(bad_journals.HEADER).encode()
    path.write_bytes(header + b"\n" + json.dumps(values).encode() + b"\n")
    (process,) = StateDirectory(directory).processes()
    process.builder.build()
    for each in process.records:
        json.dumps(each.to_json()).encode()
        assert each.duration_s >= 0
    assert [begun.elapsed_s >= 0 for begun in process.in_progress] in ([], [True])


@settings(max_examples=300, deadline=None)
@given(line=st.binary(max_size=300))
def test_any_bytes_are_a_line_or_an_error(line):
    try:
        line_type, values = parsed(line)
    except LineError:
        return
    assert isinstance(line_type, str)
    assert isinstance(values, dict)


def test_a_directory_keeps_other_peoples_files(tmp_path):
    for index in range(300):
        (tmp_path / f"dataset-{index}.jsonl").write_text("{}\n")
    names = [f"20200101T{index:06}-dataset-1.jsonl" for index in range(300)]
    for name in names:
        (tmp_path / name).write_text('{"text": "not a journal"}\n')
    prune(tmp_path)
    assert len(list(tmp_path.iterdir())) == 600


def test_ours_are_for_this_user_alone_and_never_through_a_link(tmp_path):
    before = os.umask(0)
    try:
        journal = open_journal(tmp_path)
        assert journal.flush()
    finally:
        os.umask(before)
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine\n")
    get_ledger().journal = None
    journal.close("test")
    journal.path.unlink()
    journal.path.symlink_to(elsewhere)
    again = open_journal(tmp_path)
    again.flush()
    assert elsewhere.read_text() == "mine\n"


def test_files_of_other_instances_are_not_opened(tmp_path, monkeypatch):
    bad_journals.write(tmp_path, "other")
    opened = []
    original = reader.open_to_read
    monkeypatch.setattr(reader, "open_to_read", lambda path: opened.append(path) or original(path))
    monkeypatch.setenv("COMPILESPAN_INSTANCE_ID", "mine/of:a kind")
    journal = open_journal(tmp_path)
    assert journal.flush()
    (process,) = StateDirectory(tmp_path).processes("mine/of:a kind")
    assert process.path == journal.path
    assert opened == [journal.path]


def test_of_many_jobs_each_is_told_once(tmp_path):
    path = tmp_path / "20200101T000000-bad-1.jsonl"
    jobs = [
        {"type": "job", "id": str(number), "state": "failed", "elapsed_s": 1}
        for number in range(4000)
    ]
    path.write_bytes(bad_journals.with_lines(*jobs, instance="bad"))
    told = []
    process = ProcessJournal(path, on_job=told.append).refresh()
    process.refresh()
    assert [job["id"] for job in told] == [str(number) for number in range(4000)]


def test_fields_of_a_newer_version_are_left_out(tmp_path):
    new = {**bad_journals.RECORD, "new": 1}
    new["graph_breaks"] = [{**dataclasses.asdict(GraphBreak("why")), "new": 1}]
    new["events"] = [{"name": "e", "time_ns": 1, "attributes": {}, "new": 1}]
    path = tmp_path / "20200101T000000-bad-1.jsonl"
    end = {"type": "end", "key": 1, "record": new, "new": 1}
    path.write_bytes(bad_journals.with_lines(end, {"type": "new"}, instance="bad"))
    process = ProcessJournal(path).refresh()
    assert process.is_complete
    (record,) = process.records
    assert record.graph_breaks == (GraphBreak("why"),)


def test_whatever_an_event_carries_the_record_is_read_back(tmp_path):
    journal = open_journal(tmp_path)
    with monitor_torch_compile("a", kind="compile") as monitor:
        monitor.add_event(
            "mine",
            {
                "nan": math.nan,
                "none": None,
                "mixed": [1, None, "x"],
                "object": object(),
                "dict": {"a": 1},
                "many": [1] * 5000,
                "big": 10**30,
                "text": "caf\udce9",
            },
        )
    assert journal.flush()
    (process,) = StateDirectory(tmp_path).processes()
    assert process.is_complete
    assert [record.name for record in process.records] == ["a"]


def test_a_death_is_reported_once_although_the_last_line_is_torn(tmp_path):
    path = tmp_path / "20200101T000000-bad-1.jsonl"
    path.write_bytes(bad_journals.with_lines(bad_journals.BEGIN, instance="bad") + b'{"type":"e')
    process = ProcessJournal(path).refresh()
    assert append(process, "reported")
    assert not append(ProcessJournal(path).refresh(), "reported")
