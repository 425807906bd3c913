"""Forks, locks that cannot be had, and clocks that jump: each process's record is true."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest
import torch

from compilespan import WarmupTarget, get_ledger, monitor_torch_compile, warm
from compilespan.journal import locks
from compilespan.journal.directory import StateDirectory, discard, temporary_directory
from compilespan.journal.files import prune
from compilespan.journal.writer import open_journal
from compilespan.ledger.active import CompileBegun
from compilespan.ledger.subscription import Subscription
from compilespan.process import epoch_ns, fork_safe_lock, identity, is_alive, is_child, now_ns
from compilespan.telemetry import prompt_export
from compilespan.telemetry.telemetry import active_telemetry
from support import in_child, record


class TestForks:
    def test_a_child_that_returns_through_its_parents_block_makes_no_record_of_it(self, exported):
        """The parent's record and span exist once."""
        made = []

        def fork_inside():
            with monitor_torch_compile("parents", kind="compile"):
                return os.fork()

        read, write = os.pipe()
        pid = fork_inside()
        if pid == 0:
            names = [record.name for record in get_ledger().records()]
            spans = len(exported.spans)
            os.write(write, json.dumps([names, spans]).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        made = json.loads(os.read(read, 1000))
        assert made == [[], 0]
        assert [record.name for record in get_ledger().records()] == ["parents"]
        assert len(exported.compiles) == 1

    def test_a_child_that_returns_through_its_parents_compile_makes_no_record_of_it(
        self, instrumented
    ):
        read, write = os.pipe()
        pids = []

        def backend(graph, _):
            pids.append(os.fork())
            return graph.forward

        torch.compile(lambda x: x * 2, backend=backend)(torch.zeros(2))
        if pids == [0]:
            names = [record.name for record in get_ledger().records()]
            spans = len(instrumented.compiles)
            os.write(write, json.dumps([names, spans]).encode())
            os._exit(0)
        os.waitpid(pids[0], 0)
        assert json.loads(os.read(read, 1000)) == [[], 0]
        assert len(get_ledger().records()) == len(instrumented.compiles) == 1

    def test_a_child_of_a_compile_makes_records_of_its_own(self, exported):
        def childs():
            with monitor_torch_compile("childs", kind="compile"):
                pass
            return [record.name for record in get_ledger().records()]

        with monitor_torch_compile("parents", kind="compile"):
            assert in_child(childs) == ["childs"]

    def test_every_lock_is_free_in_a_child_whoever_held_it(self, exported):
        """Locks of the ledger, the followers, the metrics: held by another thread at the fork."""
        lock, held, go_on = fork_safe_lock(), threading.Event(), threading.Event()
        ledger = get_ledger()

        def hold():
            names = ledger.followers._lock, ledger.active._lock, ledger.readiness._lock
            with lock, ledger._lock, names[0], names[1], names[2]:
                held.set()
                go_on.wait(20)

        thread = threading.Thread(target=hold, daemon=True)
        thread.start()
        assert held.wait(5)

        def childs():
            with lock, monitor_torch_compile("childs", kind="compile"):
                pass
            return get_ledger().totals().total.compiles

        try:
            assert in_child(childs) == 1
        finally:
            go_on.set()
            thread.join()

    def test_an_event_added_in_a_child_of_a_busy_block_does_not_wait(self, exported):
        over = []
        with monitor_torch_compile("busy") as monitor:

            def add():
                while not over:
                    monitor.add_event("e", {"a": 1})

            threads = [threading.Thread(target=add, daemon=True) for _ in range(2)]
            for thread in threads:
                thread.start()
            for _ in range(5):
                pid = os.fork()
                if pid == 0:
                    signal.alarm(5)
                    monitor.add_event("childs")
                    os._exit(0)
                assert os.waitpid(pid, 0)[1] == 0
            over.append(1)
            for thread in threads:
                thread.join()

    def test_a_child_awaits_on_a_loop_of_its_own(self, instrumented):
        async def run(_):
            await asyncio.sleep(0)
            torch.compile(lambda x: x + 1, backend="eager")(torch.zeros(2))

        def state():
            return warm([WarmupTarget("net", run, [{}])], verify=False).items[0].state

        async def main():
            return state()

        assert asyncio.run(main()) == "unverified"
        assert in_child(lambda: asyncio.run(main())) == "unverified"
        assert state() == "unverified"
        assert in_child(state) == "unverified"

    def test_a_child_that_leaves_its_parents_block_logs_nothing(self, exported, caplog):
        caplog.set_level("INFO", "compilespan")

        def fork_inside():
            with monitor_torch_compile("parents"):
                return os.fork()

        read, write = os.pipe()
        if fork_inside() == 0:
            os.write(write, json.dumps([r for r in caplog.messages if "took" in r]).encode())
            os._exit(0)
        assert json.loads(os.read(read, 1000)) == []

    def test_a_lock_held_by_the_forking_thread_itself_can_be_given_back(self):
        lock = fork_safe_lock()

        def childs():
            return "free"

        with lock:
            assert in_child(childs) == "free"


class TestPromptExport:
    def test_a_child_waits_half_a_second_altogether_and_loses_no_record(
        self, exported, monkeypatch
    ):
        telemetry = active_telemetry()
        monkeypatch.setattr(telemetry, "flush", lambda _: time.sleep(20))
        monkeypatch.setattr(prompt_export, "LONGEST_WAIT_S", 0.05)

        def child():
            prompt_export.flush_after_compiles()
            began = time.monotonic()
            for name in ("first", "second", "third"):
                with monitor_torch_compile(name, kind="compile"):
                    pass
            names = [each.name for each in get_ledger().records()]
            return names, time.monotonic() - began < 0.5

        assert in_child(child) == [["first", "second", "third"], True]

    def test_a_child_waits_for_one_that_answers(self, exported, monkeypatch):
        flushed = []
        monkeypatch.setattr(active_telemetry(), "flush", lambda _: flushed.append(1))

        def child():
            prompt_export.flush_after_compiles()
            for name in ("first", "second"):
                with monitor_torch_compile(name, kind="compile"):
                    pass
            return len(flushed)

        assert in_child(child) == 2

    def test_a_slow_collector_delays_a_child_by_the_same_half_second(self, exported, monkeypatch):
        monkeypatch.setattr(active_telemetry(), "flush", lambda _: time.sleep(0.15))
        monkeypatch.setattr(prompt_export, "LONGEST_WAIT_S", 0.3)

        def child():
            prompt_export.flush_after_compiles()
            began = time.monotonic()
            for _ in range(10):
                with monitor_torch_compile("m", kind="compile"):
                    pass
            return 0.25 < time.monotonic() - began < 0.6

        assert in_child(child)

    def test_compiles_that_end_at_once_are_flushed_together(self, exported, monkeypatch):
        flushed = []

        def flush(_):
            flushed.append(1)
            time.sleep(0.1)

        monkeypatch.setattr(active_telemetry(), "flush", flush)

        def child():
            def block():
                with monitor_torch_compile("m", kind="compile"):
                    barrier.wait()

            barrier = threading.Barrier(4)
            prompt_export.flush_after_compiles()
            threads = [threading.Thread(target=block) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return len(flushed)

        assert in_child(child) <= 3

    def test_what_a_signal_handler_raises_meanwhile_is_the_programs(self, exported, monkeypatch):
        monkeypatch.setattr(active_telemetry(), "flush", lambda _: time.sleep(5))

        class Timeout(Exception):
            pass

        def on_alarm(*_):
            raise Timeout

        def child():
            prompt_export.flush_after_compiles()
            signal.signal(signal.SIGALRM, on_alarm)
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            try:
                with monitor_torch_compile("m", kind="compile"):
                    pass
            except Timeout:
                return [record.name for record in get_ledger().records()]
            return "swallowed"

        assert in_child(child) == ["m"]

    def test_a_process_that_nobody_ends_does_not_wait(self, exported, monkeypatch):
        monkeypatch.setattr(active_telemetry(), "flush", lambda _: time.sleep(5))
        prompt_export.flush_after_compiles()
        began = time.monotonic()
        with monitor_torch_compile("m", kind="compile"):
            pass
        assert time.monotonic() - began < 0.4

    def test_a_burst_of_compiles_is_flushed_once_when_nothing_compiles(self, exported, monkeypatch):
        def child():
            flushed = []
            monkeypatch.setattr(prompt_export, "is_child", lambda: False)
            monkeypatch.setattr(
                active_telemetry(), "flush", lambda _: flushed.append(len(get_ledger().records()))
            )
            prompt_export.flush_after_compiles()
            with monitor_torch_compile("long", kind="compile"):
                for _ in range(20):
                    threading.Thread(target=block).start()
                time.sleep(3 * prompt_export.QUIET_S)
                meanwhile = list(flushed)
            deadline = time.monotonic() + 10
            while not flushed and time.monotonic() < deadline:
                time.sleep(0.01)
            return meanwhile, flushed

        def block():
            with monitor_torch_compile("m", kind="compile"):
                pass

        assert in_child(child) == [[], [21]]

    def test_a_long_compile_does_not_hold_up_earlier_ones_for_ever(self, exported, monkeypatch):
        def child():
            flushed = threading.Event()
            monkeypatch.setattr(prompt_export, "is_child", lambda: False)
            monkeypatch.setattr(prompt_export, "LONGEST_DELAY_S", 0.3)
            monkeypatch.setattr(active_telemetry(), "flush", lambda _: flushed.set())
            prompt_export.flush_after_compiles()
            thread = threading.Thread(target=lambda: block(flushed))
            thread.start()
            with monitor_torch_compile("m", kind="compile"):
                pass
            thread.join(20)
            return flushed.is_set()

        def block(flushed):
            with monitor_torch_compile("long", kind="compile"):
                flushed.wait(10)

        assert in_child(child)

    def test_who_is_a_child(self):
        assert not is_child()
        assert in_child(lambda: "child" if is_child() else "none") == "child"


class TestClock:
    def test_a_step_of_the_system_clock_moves_nothing(self, exported, monkeypatch):
        before_ns = now_ns()
        real = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: real() + 3600 * 10**9)
        monkeypatch.setattr(time, "time", lambda: real() / 1e9 + 3600)
        with monitor_torch_compile("a", kind="compile"):
            pass
        (made,) = get_ledger().records()
        assert before_ns <= made.start_ns <= made.end_ns <= now_ns()
        assert abs(now_ns() - real()) < 60 * 10**9
        assert epoch_ns(time.perf_counter_ns()) - before_ns < 60 * 10**9

    def test_records_that_lie_apart_never_overlap_because_the_clock_was_set_back(
        self, exported, monkeypatch
    ):
        real, steps = time.time_ns, iter(range(0, 10**6, 500))
        monkeypatch.setattr(time, "time_ns", lambda: real() - next(steps) * 10**6)
        for _ in range(5):
            with monitor_torch_compile("a", kind="compile"):
                time.sleep(0.002)
        row = get_ledger().totals().total
        assert row.wall_s == pytest.approx(row.compile_s, abs=1e-9)

    def test_the_spans_of_a_warmup_are_on_the_same_clock(self, instrumented, monkeypatch):
        real = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: real() + 5000 * 10**9)
        model = torch.compile(lambda x: x + 1, backend="eager")
        warm([WarmupTarget("net", lambda _: model(torch.zeros(2)), [{}])])
        (warmup,), (item,) = (
            instrumented.named(f"compilespan.{name}") for name in ("warmup", "warmup.item")
        )
        (compiled,) = instrumented.compiles
        assert warmup.start_time <= item.start_time <= compiled.start_time
        assert compiled.end_time <= item.end_time <= warmup.end_time


class TestJournalOpens:
    def test_the_first_record_does_not_contain_the_opening_of_a_slow_directory(
        self, exported, monkeypatch, tmp_path
    ):
        from pathlib import Path

        original = Path.mkdir

        def slow(self, *args, **kwargs):
            time.sleep(0.4)
            return original(self, *args, **kwargs)

        monkeypatch.setattr(Path, "mkdir", slow)
        monkeypatch.setenv("COMPILESPAN_STATE_DIR", str(tmp_path / "state"))
        started = time.perf_counter()
        with monitor_torch_compile("a", kind="compile"):
            pass
        assert time.perf_counter() - started < 0.3
        (made,) = get_ledger().records()
        assert made.duration_s < 0.1
        assert get_ledger().journal.flush()
        (process,) = StateDirectory(tmp_path / "state").processes()
        assert [each.name for each in process.records] == ["a"]  # although it ended before

    def test_nothing_of_ours_touches_the_disk_in_the_compiling_thread(
        self, exported, monkeypatch, tmp_path
    ):
        monkeypatch.setenv("COMPILESPAN_STATE_DIR", str(tmp_path / "state"))
        opened = []
        main = threading.get_ident()

        def audit(event, arguments):
            watched = event in ("open", "os.mkdir", "os.listdir", "os.scandir", "os.rename")
            watched = watched and not str(arguments[0]).startswith("/proc/")
            if active and watched and threading.get_ident() == main:
                opened.append((event, arguments))

        active = True
        sys.addaudithook(audit)
        with monitor_torch_compile("a", kind="compile"):
            pass
        active = False
        assert get_ledger().journal.flush()
        assert opened == []


WHO = {"instance": "x", "pid": 1, "started_ns": 1, "versions": {}}


def journal_of(directory, **process):
    """Write a journal with a compile that has no end."""
    path = directory / "20200101T000000-x-1.jsonl"
    header = {"type": "process", "format": 1, **WHO, **process}
    begun = {"type": "begin", "key": 1, "name": "a", "component": "other", "start_ns": 1}
    path.write_text(f"{json.dumps(header)}\n{json.dumps(begun)}\n")
    return path


@pytest.fixture(params=["no flock here", "no fcntl at all", "not held by the writer"])
def without_locks(request, monkeypatch):
    """Lustre and some NFS mounts; Windows; a writer that could not take the lock."""
    if request.param == "no fcntl at all":
        monkeypatch.setattr(locks, "fcntl", None)
    elif request.param == "no flock here":

        def flock(*_):
            raise OSError(38, "Function not implemented")

        monkeypatch.setattr(locks.fcntl, "flock", flock)
    return request.param


class TestWithoutLocks:
    def test_a_living_process_is_neither_dead_nor_pruned(self, without_locks, tmp_path):
        path = journal_of(tmp_path, is_locked=None, **identity())
        os.utime(path, (1, 1))
        (process,) = StateDirectory(tmp_path).processes()
        assert process.is_running
        assert process.interrupted == ()
        (tmp_path / "20300101T000000-x-2.jsonl").write_text("")  # a newer one: this one may go
        prune(tmp_path, keep=1)
        assert path.exists()

    def test_a_dead_one_is_told_by_its_number(self, without_locks, tmp_path):
        child = subprocess.Popen([sys.executable, "-c", ""])
        child.wait(30)
        who = {**identity(), "pid": child.pid, "started_ticks": 1}
        journal_of(tmp_path, is_locked=None, **who)
        (process,) = StateDirectory(tmp_path).processes()
        assert not process.is_running
        assert [begun.name for begun in process.interrupted] == ["a"]

    def test_of_another_host_age_decides(self, without_locks, tmp_path):
        who = {**identity(), "host": "another.example"}
        path = journal_of(tmp_path, is_locked=None, **who)
        assert StateDirectory(tmp_path).processes()[0].is_running
        long_ago = time.time() - 3 * locks.STALE_S
        os.utime(path, (long_ago, long_ago))
        assert not StateDirectory(tmp_path).processes()[0].is_running

    def test_a_journal_is_written_and_read_all_the_same(self, without_locks, tmp_path):
        journal = open_journal(tmp_path)
        key = get_ledger().prepare()
        get_ledger().begin(CompileBegun(key, "a", "other", 1, 1))
        get_ledger().end(key, record(name="a"))
        assert journal.flush()
        (process,) = StateDirectory(tmp_path).processes()
        assert process.is_running
        assert [each.name for each in process.records] == ["a"]


def test_a_number_that_is_used_again_is_another_process():
    me = identity()
    assert is_alive(me["pid"], me["host"], me["started_ticks"]) is True
    assert is_alive(me["pid"], me["host"], me["started_ticks"] + 1) is False
    assert is_alive(me["pid"], "another.example", me["started_ticks"]) is None
    assert me["host"] == socket.gethostname()


def test_a_system_without_user_ids_has_a_temporary_directory(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "getuid")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert temporary_directory() == tmp_path / "compilespan-test-instance"


def test_a_system_whose_utime_takes_no_descriptor_renews_by_the_path(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "supports_fd", set())
    journal = open_journal(tmp_path)
    assert journal.flush()
    os.utime(journal.path, (1, 1))
    locks.touch(journal._file, journal.path)
    assert journal.path.stat().st_mtime > 10**9


def test_a_subscription_whose_idle_raises_delivers_and_does_not_spin(caplog):
    calls, got = [], []

    def idle():
        calls.append(1)
        raise AttributeError("not on this system")

    subscription = Subscription(got.append, idle=idle)
    for number in range(3):
        assert subscription.put(number)
    assert subscription.drain()
    time.sleep(0.2)
    assert got == [0, 1, 2]
    assert len(calls) < 10
    assert caplog.text.count("a callback failed") == 1
    assert subscription.close()


def worker(_):
    with monitor_torch_compile("in a worker", kind="compile"):
        pass


def test_a_pool_of_short_lived_workers_writes_every_record(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPILESPAN_STATE_DIR", str(tmp_path))
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        pool.map(worker, range(4), chunksize=1)
        pool.close()
        pool.join()
    names = [each.name for p in StateDirectory(tmp_path).processes() for each in p.records]
    assert names == ["in a worker"] * 4


@pytest.fixture
def temporary(monkeypatch, tmp_path):
    """Where temporary directories are made; returns what leaves one there, a while ago."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))

    def left(name, *files, days=2):
        directory = tmp_path / name
        directory.mkdir()
        then = time.time() - days * 24 * 3600
        for file in files:
            (directory / file).write_text("{}\n")
            os.utime(directory / file, (then, then))
        os.utime(directory, (then, then))
        return directory

    return left


DRAWN = "0123456789abcdef"
JOURNAL_NAME = f"20260101T000000-{DRAWN}-1.jsonl"
OTHER_NAME = "20260101T000000-fedcba9876543210-1.jsonl"


def test_the_directory_of_a_start_that_was_killed_is_removed_a_day_later(temporary):
    directory = temporary(f"compilespan-{DRAWN}", JOURNAL_NAME)
    temporary_directory()
    assert not directory.exists()


@pytest.mark.parametrize(
    ("name", "files", "days"),
    [
        (f"compilespan-{DRAWN}", [JOURNAL_NAME], 0.5),
        (f"compilespan-{DRAWN}", [JOURNAL_NAME, "notes.txt"], 2),
        (f"compilespan-{DRAWN}", ["notes.txt"], 2),
        (f"other-{DRAWN}", [JOURNAL_NAME], 2),
        ("compilespan-history", ["20260101T000000-history-1.jsonl"], 2),
        (f"compilespan-{DRAWN}", [JOURNAL_NAME, OTHER_NAME], 2),
        (f"compilespan-{DRAWN}", [], 2),
    ],
)
def test_what_is_young_or_not_ours_stays(temporary, name, files, days):
    directory = temporary(name, *files, days=days)
    temporary_directory()
    assert {each.name for each in directory.iterdir()} == set(files)


def test_a_directory_that_is_written_stays(temporary, monkeypatch):
    monkeypatch.setattr("compilespan.journal.writer.instance_id", lambda: DRAWN)
    directory = temporary(f"compilespan-{DRAWN}")
    journal = open_journal(directory)
    monitor = monitor_torch_compile("a", kind="compile")
    with monitor:
        pass
    assert journal.flush()
    then = time.time() - 2 * 24 * 3600
    for each in (journal.path, directory):
        os.utime(each, (then, then))
    temporary_directory()
    assert journal.path.exists()


def test_a_link_to_a_directory_stays(temporary, tmp_path):
    directory = temporary("elsewhere", JOURNAL_NAME)
    (tmp_path / f"compilespan-{DRAWN}").symlink_to(directory)
    temporary_directory()
    assert (directory / JOURNAL_NAME).exists()


@pytest.mark.parametrize(
    ("instance", "with_children", "stays"),
    [
        ("test-instance", False, True),
        ("test-instance", True, False),
        ("another", False, True),
        ("another", True, True),
    ],
)
def test_a_directory_is_discarded_unless_somebody_else_writes_there(
    temporary, instance, with_children, stays
):
    """A worker that is about to end with its server is nobody else; a sidecar is."""
    directory = temporary_directory()
    code = (
        "import sys; from compilespan.journal.writer import open_journal; "
        f"open_journal({str(directory)!r}).flush(); print(1, flush=True); sys.stdin.read()"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "COMPILESPAN_INSTANCE_ID": instance},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    writer.stdout.readline()
    discard(directory, with_children=with_children)
    assert directory.exists() is stays
    writer.communicate(timeout=20)


def test_a_directory_that_the_operator_named_is_not_discarded(temporary, tmp_path):
    (tmp_path / "mine").mkdir()
    discard(tmp_path / "mine", with_children=True)
    assert (tmp_path / "mine").exists()


ENDS = """
import sys
from compilespan.journal.writer import open_journal
open_journal({directory!r}).flush()
{end}
"""


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("pass", "exit"),
        ("sys.exit(3)", "exit"),
        ("raise RuntimeError('no')", "failed"),
        ("try:\n    1 / 0\nexcept ZeroDivisionError:\n    pass", "exit"),
    ],
)
def test_an_exception_that_nobody_caught_is_no_exit(tmp_path, end, reason):
    code = ENDS.format(directory=str(tmp_path), end=end)
    subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, timeout=60, check=False)
    (process,) = StateDirectory(tmp_path).processes()
    assert process.exit_reason == reason
