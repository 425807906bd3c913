"""Rule 6: all memory is bounded, whatever the program does."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from compilespan import get_ledger, monitor_torch_compile
from compilespan.journal.files import MAX_BYTES
from compilespan.journal.reader import ProcessJournal
from compilespan.journal.writer import open_journal

MIB = 1024 * 1024


def memory():
    """Return the resident memory of this process in bytes."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def compile_blocks(count):
    for _ in range(count):
        with monitor_torch_compile("a", kind="compile", message=""):
            pass


@pytest.mark.long
def test_a_hundred_thousand_records_go_through_monitor_ledger_and_journal(tmp_path):
    journal = open_journal(tmp_path)
    for _ in range(5):
        compile_blocks(4_000)  # what is kept is full after these
        assert journal.flush(60)
    before = memory()
    for _ in range(20):
        compile_blocks(4_000)
        assert journal.flush(60)  # a real program compiles slower than a disk writes
    assert memory() - before < 8 * MIB  # kept whole, 80,000 records would take 60
    assert get_ledger().totals().total.compiles == 100_000
    assert len(get_ledger().records()) == 4096
    assert journal.path.stat().st_size <= MAX_BYTES
    reader = ProcessJournal(journal.path).refresh()
    lost = get_ledger().followers.dropped
    assert set(lost) <= {"journal"}
    assert reader.is_complete == (not lost)
    # A lost line loses one record at most, and on a loaded machine most lines are written, too.
    assert reader.builder.build().total.compiles >= 100_000 - lost.get("journal", 0)
    assert reader.builder.build().total.compiles >= 50_000


def test_a_million_events_go_through_one_monitor():
    with monitor_torch_compile("a", kind="compile", message="") as monitor:
        before = memory()
        for _ in range(200_000):
            for name in ("graph", "graph_break", "recompile", "nested", "other"):
                monitor.add_event(f"torch.compile.{name}")
        assert memory() - before < 4 * MIB
    (record,) = get_ledger().records()
    assert record.graphs == 200_000
    assert len(record.graph_breaks) == 64
