"""Sums and unions of records."""

from __future__ import annotations

import dataclasses
import random

from compilespan.ledger.intervals import MAX_INTERVALS, IntervalUnion
from compilespan.ledger.records import CompileRecord, GraphBreak
from compilespan.ledger.rows import TotalsRow
from compilespan.ledger.totals import TotalsBuilder
from compilespan.semconv import bounded
from support import RECORD, record


def length(intervals: list[tuple[int, int]]) -> int:
    return len({tick for start, end in intervals for tick in range(start, end)})


def test_union_of_random_intervals_is_the_number_of_ticks_they_cover():
    draw = random.Random(1)
    for _ in range(300):
        intervals = [(start, start + draw.randrange(12)) for start in draw.choices(range(80), k=15)]
        union = IntervalUnion()
        for interval in intervals:
            union.add(*interval)
        assert union.total_ns == length(intervals)


def test_unions_of_two_processes_add_up_to_the_union_of_all_their_intervals():
    draw = random.Random(2)
    first, second = IntervalUnion(), IntervalUnion()
    intervals = [(start, start + draw.randrange(9)) for start in draw.choices(range(90), k=30)]
    for index, interval in enumerate(intervals):
        (first if index % 2 else second).add(*interval)
    first.update(second)
    assert first.total_ns == length(intervals)


def test_the_union_of_two_long_unions_is_exact():
    """Two of 6,000 intervals each, the second between the gaps of the first."""
    first, second = IntervalUnion(), IntervalUnion()
    for index in range(6_000):
        first.add(10 * index, 10 * index + 3)
        second.add(10 * index + 5, 10 * index + 7)
    first.update(second)
    assert first.total_ns == 30_000
    first.update(second)
    assert first.total_ns == 30_000


def test_a_union_keeps_bounded_memory_and_is_at_most_the_time_that_passed():
    union = IntervalUnion()
    count = 3 * MAX_INTERVALS
    for index in range(count):
        union.add(10 * index, 10 * index + 3 + index % 2)
        assert len(union._starts) <= MAX_INTERVALS
    covered = count * 3 + count // 2
    assert covered <= union.total_ns <= 10 * count
    before_ns = union.total_ns
    union.add(0, 10 * count)
    assert union.total_ns == 10 * count >= before_ns


def test_order_does_not_matter_to_a_union():
    draw = random.Random(4)
    intervals = [
        (start, start + draw.randrange(1, 40)) for start in draw.choices(range(9999), k=400)
    ]
    lengths = set()
    for _ in range(5):
        draw.shuffle(intervals)
        union = IntervalUnion()
        for interval in intervals:
            union.add(*interval)
        lengths.add(union.total_ns)
    assert lengths == {length(intervals)}


def test_the_components_add_up_to_the_total():
    builder = TotalsBuilder()
    builder.add(record(component="encoder", start_ns=0))
    builder.add(record(component="other", start_ns=20_000_000_000))
    builder.add(record(start_ns=1_000_000_000))
    builder.add(record(start_ns=5_000_000_000, outcome="failed", error_type="ValueError"))
    builder.add(record(start_ns=9_000_000_000, kind="load", cache_misses=0, graphs=0))
    totals = builder.build()
    for field in dataclasses.fields(TotalsRow):
        if field.name not in ("wall_s", "longest_s"):
            rows = (totals.encoder, totals.language_model, totals.other)
            assert sum(getattr(row, field.name) for row in rows) == getattr(
                totals.total, field.name
            ), field.name
    assert totals.total.compile_s == 6.0
    assert totals.other.compile_s == 2.0
    assert totals.total.wall_s == 9.0  # two overlap by a second


def test_failed_seconds_are_apart_from_compile_seconds():
    builder = TotalsBuilder()
    builder.add(record())
    builder.add(record(outcome="failed", error_type="ValueError", duration_ns=3_000_000_000))
    row = builder.build().total
    assert (row.compile_s, row.failed_s, row.compiles, row.failed) == (2.0, 3.0, 1, 1)


def test_only_compiles_count_as_compiles():
    builder = TotalsBuilder()
    for kind in ("compile", "load", "capture", "empty"):
        builder.add(record(kind=kind, graphs=0, cache_misses=0))
    builder.add(record(outcome="skipped"))
    row = builder.build().total
    assert (row.compiles, row.loads, row.captures, row.skipped) == (2, 1, 1, 1)
    assert (row.compile_s, row.load_s) == (4.0, 2.0)


def test_an_empty_block_is_not_waited_for():
    builder = TotalsBuilder()
    builder.add(record(kind="empty"))
    assert builder.build().total.wall_s == 0.0


def test_rows_by_phase_name_and_process():
    builder = TotalsBuilder()
    builder.add(record(phase="warmup", name="a", pid=1))
    builder.add(record(phase="serving", name="b", pid=2))
    totals = builder.build()
    assert {key: row.compiles for key, row in totals.by_phase.items()} == {
        "warmup": 1,
        "serving": 1,
    }
    assert set(totals.by_name) == {"a", "b"}
    assert set(totals.by_process) == {"1", "2"}


def test_sums_of_another_builder_are_added_as_if_its_records_were():
    draw = random.Random(3)
    records = [
        record(
            start_ns=draw.randrange(10**10),
            duration_ns=draw.randrange(10**9),
            component=draw.choice(["encoder", "language_model", "other"]),
            pid=draw.randrange(3),
            name=draw.choice("abc"),
        )
        for _ in range(60)
    ]
    whole, first, second = TotalsBuilder(), TotalsBuilder(), TotalsBuilder()
    for index, each in enumerate(records):
        whole.add(each)
        (first if index < 20 else second).add(each)
    first.update(second)
    assert first.build() == whole.build()


def test_names_are_bounded():
    known = {str(index) for index in range(64)}
    assert bounded("5", known) == "5"
    assert bounded("new", known) == "_other"


def test_a_record_survives_json():
    broken = record(graph_breaks=(GraphBreak("print", "/a.py", 3),))
    assert CompileRecord.from_json(broken.to_json()) == broken


def test_a_record_of_a_newer_version_is_read_without_its_new_fields():
    assert CompileRecord.from_json({**RECORD.to_json(), "invented": 1}) == RECORD
