"""Memory of a process and its children: what the journal says before the kernel ends them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compilespan import get_ledger
from compilespan.journal.memory import Memory, resident_bytes
from compilespan.journal.reader import ProcessJournal
from compilespan.journal.summary import Summary
from compilespan.process import limits
from compilespan.process.limits import cpus, memory_bytes

MB = 1_000_000
HOLDS = "held = bytearray({size}); print('held', flush=True); import time; time.sleep(60)"


def test_what_living_children_have_counts_and_what_ended_does_not():
    before = resident_bytes()
    command = [sys.executable, "-c", HOLDS.format(size=100 * MB)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        during = resident_bytes()
        child.kill()
    assert 90 * MB < during - before < 300 * MB
    assert resident_bytes() - before < 50 * MB


def test_grandchildren_count():
    inner = HOLDS.format(size=100 * MB)
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    before = resident_bytes()
    with subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        during = resident_bytes()
        os.kill(int(_children(child.pid)), signal.SIGKILL)
    assert during - before > 90 * MB


def _children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]


@pytest.mark.parametrize(
    ("line", "file", "directory"),
    [
        ("0::/pod/one", "memory.max", "pod"),
        ("0::/pod/one", "memory.max", "pod/one"),
        ("4:memory:/pod/one", "memory.limit_in_bytes", "memory/pod"),
        ("4:cpu,memory:/pod/one", "memory.limit_in_bytes", "memory/pod/one"),
    ],
)
def test_the_limit_is_the_lowest_of_the_cgroups_around(
    tmp_path, monkeypatch, line, file, directory
):
    root = tmp_path / "cgroup"
    for each in ("pod/one", "memory/pod/one"):
        (root / each).mkdir(parents=True)
    (root / "pod/one/memory.max").write_text("max\n")
    (root / "memory/pod/one/memory.limit_in_bytes").write_text("9223372036854771712\n")
    (root / directory / file).write_text("12345678\n")
    cgroup = tmp_path / "self"
    cgroup.write_text(f"1:name=systemd:/x\n{line}\n")
    monkeypatch.setattr(limits, "_CGROUPS", root)
    monkeypatch.setattr(limits, "_OWN_CGROUP", cgroup)
    assert memory_bytes() == 12345678


def test_without_cgroups_the_machine_is_the_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(limits, "_OWN_CGROUP", tmp_path / "none")
    assert memory_bytes() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("0::/pod/one", {"pod/one/cpu.max": "max 100000", "pod/cpu.max": "150000 100000"}),
        (
            "3:cpu,cpuacct:/pod",
            {"cpu/pod/cpu.cfs_quota_us": "75000", "cpu/pod/cpu.cfs_period_us": "50000"},
        ),
    ],
)
def test_a_quota_of_cpus_is_the_lowest_around(tmp_path, monkeypatch, line, files):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    root = tmp_path / "cgroup"
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content + "\n")
    own = tmp_path / "self"
    own.write_text(line + "\n")
    monkeypatch.setattr(limits, "_CGROUPS", root)
    monkeypatch.setattr(limits, "_OWN_CGROUP", own)
    assert cpus() == 1.5


def test_without_a_quota_the_affinity_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "_OWN_CGROUP", tmp_path / "none")
    assert cpus() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("peak", "limit", "near"), [(95, 100, True), (50, 100, False), (95, None, False)]
)
def test_near_the_limit_is_where_the_kernel_may_have_ended_it(peak, limit, near):
    assert Memory(peak, limit).is_near_limit is near


def test_a_start_that_is_killed_while_it_compiles_says_its_peak(tmp_path):
    """The peak comes before the end: what was freed since counts."""
    code = """
    import sys, time
    from compilespan import monitor_torch_compile
    with monitor_torch_compile("model", kind="compile"):
        held = bytearray(300_000_000)
        time.sleep(2.5)
        del held
        print("freed", flush=True)
        time.sleep(60)
    """
    code = "\n".join(line[4:] for line in code.splitlines())
    env = {**os.environ, "COMPILESPAN_STATE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as child:
        child.stdout.readline()
        time.sleep(1.2)
        child.kill()
    (path,) = tmp_path.glob("*.jsonl")
    journal = ProcessJournal(path).refresh()
    assert journal.is_complete
    assert journal.memory.peak_bytes > 300 * MB
    assert journal.memory.limit_bytes == memory_bytes()
    summary = Summary.of(journal.snapshot())
    line = json.dumps({"type": "summary", **summary.line()})
    path.write_text(f"{line}\n")
    assert Summary.at_end_of(path).memory == summary.memory


def test_what_is_compiling_is_journalled_with_its_stage(tmp_path, monkeypatch, instrumented):
    import torch
    from torch._dynamo.utils import dynamo_timed

    monkeypatch.setenv("COMPILESPAN_STATE_DIR", str(tmp_path))
    seen = []

    def backend(graph_module, inputs):
        with dynamo_timed("compile_file"):
            time.sleep(1.5)
            get_ledger().journal.flush()
            seen.extend(ProcessJournal(get_ledger().journal.path).refresh().in_progress)
        return graph_module.forward

    torch.compile(lambda x: x + 1, backend=backend)(torch.zeros(2))
    assert [begun.stage for begun in seen] == ["kernels"]


def test_how_long_the_kernel_held_the_cgroup_back(tmp_path, monkeypatch):
    """Version 2 counts microseconds, version 1 nanoseconds; from when it is first asked."""
    root, own = tmp_path / "cgroups", tmp_path / "own"
    inner = root / "pods/one"
    inner.mkdir(parents=True)
    own.write_text("0::/pods/one\n")
    monkeypatch.setattr(limits, "_CGROUPS", root)
    monkeypatch.setattr(limits, "_OWN_CGROUP", own)
    assert limits.Throttled().spent_s is None
    (inner / "cpu.stat").write_text("nr_periods 5\nthrottled_usec 2000000\n")
    held = limits.Throttled()
    (inner / "cpu.stat").write_text("nr_periods 9\nthrottled_usec 5500000\n")
    assert held.spent_s == 3.5
    (inner / "cpu.stat").write_text("nr_periods 9\nthrottled_time 7500000000\n")
    assert held.spent_s == 5.5
    (inner / "cpu.stat").write_text("damaged")
    assert held.spent_s is None


def test_threads_of_inductor_are_as_many_as_cpus_whatever_the_quota(monkeypatch):
    from torch._inductor.config import decide_compile_threads

    monkeypatch.delenv("TORCHINDUCTOR_COMPILE_THREADS", raising=False)
    assert limits.compile_threads() == decide_compile_threads()
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "7")
    assert limits.compile_threads() == 7
