"""The journal and its readers, real processes that die included."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from compilespan import get_ledger, mark_ready, monitor_torch_compile
from compilespan.journal import writer as journals
from compilespan.journal.directory import StateDirectory
from compilespan.journal.files import prune
from compilespan.journal.reader import ProcessJournal
from compilespan.journal.summary import Summary
from compilespan.journal.writer import open_journal
from compilespan.ledger.active import CompileBegun
from support import interrupted, record

HEADER = {
    "type": "process",
    "format": 1,
    "instance": "i",
    "pid": 1,
    "started_ns": 1,
    "versions": {"python": "3.11"},
}


def add(**changes):
    ledger = get_ledger()
    key = ledger.prepare()
    ledger.begin(CompileBegun(key, changes.get("name", "a"), "other", 1, 1))
    ledger.end(key, record(**changes))


def run(code, state_dir, *, wait=True, **env):
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "COMPILESPAN_STATE_DIR": str(state_dir), **env},
        stdout=subprocess.PIPE,
        text=True,
    )
    if wait:
        assert child.wait(60) == 0
    return child


def test_what_is_written_is_read_back(tmp_path):
    journal = open_journal(tmp_path)
    add(name="x", start_ns=time.time_ns())
    mark_ready()
    jobs = [{"id": each, "state": "failed", "elapsed_s": 1.5} for each in ("1", "2")]
    for job in jobs:
        journal.note("job", job)
    journal.close("test")
    get_ledger().journal = None
    (process,) = StateDirectory(tmp_path).processes()
    assert process.process["pid"] == os.getpid()
    assert process.process["versions"]["torch"].startswith("2.")
    assert [each.name for each in process.records] == ["x"]
    assert process.builder.build() == get_ledger().totals()
    assert process.ready.after_s == get_ledger().readiness.after_s
    told = []
    ProcessJournal(journal.path, on_job=told.append).refresh()
    assert told == jobs
    assert (process.exit_reason, process.is_complete, process.is_running) == ("test", True, False)


def test_a_process_that_compiles_opens_its_journal_by_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPILESPAN_STATE_DIR", str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    with monitor_torch_compile("a", kind="compile"):
        pass
    assert get_ledger().journal.flush()
    (process,) = StateDirectory(tmp_path).processes()
    assert process.is_running
    assert [each.name for each in process.records] == ["a"]


def test_a_file_is_readable_while_it_is_written(tmp_path):
    journal = open_journal(tmp_path)
    reader = ProcessJournal(journal.path)
    for count in range(1, 4):
        add()
        assert journal.flush()
        assert reader.refresh().builder.build().total.compiles == count


def test_a_torn_last_line_is_left_for_the_next_time(tmp_path):
    path = tmp_path / "x.jsonl"
    header = json.dumps(HEADER)
    line = json.dumps({"type": "end", "key": 1, "record": record().to_json()})
    path.write_text(f"{header}\n{line[:40]}")
    reader = ProcessJournal(path)
    assert (reader.refresh().records, reader.is_complete) == ([], True)
    path.write_text(f"{header}\n{line}\n")
    assert len(reader.refresh().records) == 1


@pytest.mark.parametrize(
    "line", ["nonsense", "[]", '{"type":"end"}', '{"type":"end","key":1,"record":{"name":5}}']
)
def test_an_unreadable_line_is_passed_over_and_said(tmp_path, line):
    path = tmp_path / "x.jsonl"
    header = json.dumps(HEADER)
    good = json.dumps({"type": "end", "key": 1, "record": record().to_json()})
    path.write_text(f"{header}\n{line}\n{good}\n")
    reader = ProcessJournal(path).refresh()
    assert (len(reader.records), reader.is_complete) == (1, False)


def test_a_killed_process_leaves_what_it_was_compiling_and_for_how_long(tmp_path):
    child = run(
        "import time\n"
        "from compilespan import monitor_torch_compile\n"
        "with monitor_torch_compile('language_model', is_encoder=False) as monitor:\n"
        "    monitor.add_event('torch.compile.graph')\n"
        "    monitor.add_event('torch.compile.graph')\n"
        "    print('compiling', flush=True)\n"
        "    time.sleep(60)\n",
        tmp_path,
        wait=False,
    )
    assert child.stdout.readline() == "compiling\n"
    time.sleep(2.5)
    directory = StateDirectory(tmp_path)
    assert interrupted(directory) == []  # it lives
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    child.stdout.close()
    ((process, begun),) = interrupted(directory)
    assert process.process["pid"] == child.pid
    assert (begun.name, begun.component, begun.graphs) == ("language_model", "language_model", 2)
    assert 1.0 <= begun.elapsed_s <= 10
    assert process.exit_reason is None


def test_processes_of_one_instance_are_found_and_those_of_other_starts_are_not(tmp_path):
    code = (
        "from compilespan import monitor_torch_compile, get_ledger\n"
        "with monitor_torch_compile('a', kind='compile'): pass\n"
        "get_ledger().journal.close('done')\n"
    )
    for instance in ("one", "one", "two"):
        run(code, tmp_path, COMPILESPAN_INSTANCE_ID=instance).stdout.close()
    directory = StateDirectory(tmp_path)
    assert len(directory.processes("one")) == 2
    assert len(directory.processes("two")) == 1
    assert len(directory.processes()) == 3


def test_a_forked_child_writes_a_file_of_its_own(tmp_path):
    journal = open_journal(tmp_path)
    add(name="parents")
    pid = os.fork()
    if pid == 0:
        with monitor_torch_compile("childs", kind="compile"):
            pass
        get_ledger().journal.close("child")
        os._exit(0)
    os.waitpid(pid, 0)
    assert journal.flush()
    by_pid = {
        process.process["pid"]: [each.name for each in process.records]
        for process in StateDirectory(tmp_path).processes("test-instance")
    }
    assert by_pid == {os.getpid(): ["parents"], pid: ["childs"]}


def test_a_directory_that_cannot_be_made_costs_the_journal_and_nothing_else(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    assert open_journal(tmp_path / "file" / "state").flush()
    assert "totals are kept in memory only" in caplog.text
    assert "COMPILESPAN_STATE_DIR" in caplog.text
    with monitor_torch_compile("a", kind="compile"):
        pass
    assert get_ledger().totals().total.compiles == 1
    assert get_ledger().journal.flush()
    assert get_ledger().followers.dropped["journal"] > 0


def test_a_full_file_says_so_and_the_ledger_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "MAX_BYTES", 3000)
    journal = open_journal(tmp_path)
    for _ in range(20):
        add()
    journal.close("test")
    get_ledger().journal = None
    lines = [json.loads(line) for line in journal.path.read_text().splitlines()]
    assert [line["type"] for line in lines[-3:]] == ["truncated", "exit", "summary"]
    assert sum(len(json.dumps(line)) for line in lines[:-2]) <= 3500
    reader = ProcessJournal(journal.path).refresh()
    assert not reader.is_complete
    assert 0 < len(reader.records) < 20
    assert get_ledger().totals().total.compiles == 20
    assert get_ledger().followers.dropped["journal"] > 0
    summary = Summary.at_end_of(journal.path)
    assert summary.totals.build().total == get_ledger().totals().total


def test_a_disk_that_fails_is_told_once(tmp_path, caplog):
    journal = open_journal(tmp_path)

    class Full:
        def tell(self):
            return 0

        def write(self, _):
            raise OSError(28, "No space left on device")

        def fileno(self):
            return -1

        def close(self):
            pass

    assert journal.flush()
    journal._file.close()
    journal._file = Full()
    for _ in range(3):
        add()
    assert journal.flush()
    assert caplog.text.count("No space left on device") == 1
    assert get_ledger().totals().total.compiles == 3


def test_old_files_are_pruned_and_those_of_living_processes_are_not(tmp_path):
    for index in range(10):
        (tmp_path / f"2000010{index}T000000-x-1.jsonl").write_text("")
    journal = open_journal(tmp_path)
    assert journal.flush()
    journal.path.rename(tmp_path / "19990101T000000-x-1.jsonl")
    prune(tmp_path, keep=3)
    left = sorted(path.name[:8] for path in tmp_path.iterdir())
    assert left == ["19990101", "20000107", "20000108", "20000109"]


@pytest.mark.parametrize("after_s", [0.005, 0.02, 0.04])
def test_who_dies_right_after_a_compile_did_not_die_in_it(tmp_path, after_s):
    """Compiled code that crashes in its first run, ``os._exit``, a pool that is terminated."""
    program = (
        "import os, signal, time, compilespan\n"
        "with compilespan.monitor_torch_compile('m', kind='compile'):\n"
        "    time.sleep(0.2)\n"
        f"time.sleep({after_s})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    env = {**os.environ, "COMPILESPAN_STATE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=env, check=False)
    state = StateDirectory(tmp_path)
    (process,) = state.processes()
    assert [record.name for record in process.records] == ["m"]
    assert interrupted(state) == []
