"""What a start was made of: segments without gaps, of one part each."""

from __future__ import annotations

import itertools
import random
import threading
import time
from typing import get_args

import pytest

from compilespan import get_ledger, mark_ready, monitor_torch_compile
from compilespan.journal.reader import ProcessJournal
from compilespan.journal.writer import open_journal
from compilespan.ledger.entries import Mark
from compilespan.ledger.readiness import MAX_MARKS
from compilespan.ledger.segments import Doer
from compilespan.ledger.start import MAX_SEGMENTS, Start
from compilespan.ledger.totals import TotalsBuilder, cache_state
from compilespan.semconv import Part
from compilespan.telemetry.startup import Startup
from support import record

S = 10**9


def mark(part, start, end, name=None, thread=1):
    return Mark(part, round(start * S), None if end is None else round(end * S), name, thread)


def compiled(start, end, **fields):
    return record(start_ns=int(start * S), duration_ns=int((end - start) * S), **fields)


def start(*marks, records=(), compiling=(), end=10, others=()):
    builder = TotalsBuilder()
    for each in records:
        builder.add(each)
    return Start.of(0, end * S, [Doer(marks, builder.intervals, compiling), *others])


def told(made):
    return [(each.part, each.start_ns / S, each.end_ns / S) for each in made.segments]


# The cut


def test_what_nobody_marks_is_other():
    assert told(start()) == [("other", 0, 10)]
    assert start().parts_s == {"other": 10.0}


def test_parts_follow_each_other_without_gaps_and_sum_to_the_whole():
    made = start(
        mark("boot", 0, 1),
        mark("import", 1, 3, "torch"),
        mark("load", 4, 6),
        records=[compiled(6, 9)],
    )
    assert told(made) == [
        ("boot", 0, 1),
        ("import", 1, 3),
        ("other", 3, 4),
        ("load", 4, 6),
        ("compile", 6, 9),
        ("other", 9, 10),
    ]
    assert made.parts_s == {"boot": 1, "compile": 3, "load": 2, "import": 2, "other": 2}


@pytest.mark.parametrize(
    ("outer", "inner"),
    list(itertools.combinations(["compile", "capture", "load", "import", "wait", "boot"], 2)),
)
def test_of_what_holds_at_once_in_several_threads_the_more_specific_counts(outer, inner):
    def of(part, begin, end, thread):
        if part in ("compile", "capture"):
            return [], [compiled(begin, end, kind=part)]
        return [mark(part, begin, end, thread=thread)], []

    marks, records = map(sum, zip(of(outer, 2, 8, 1), of(inner, 0, 10, 2), strict=True), ([], []))
    made = start(*marks, mark("load", 9, 9), records=records)
    assert told(made) == [(inner, 0, 2), (outer, 2, 8), (inner, 8, 10)]


def test_an_import_inside_a_load_of_its_thread_is_an_import_and_one_beside_it_is_not():
    inside = start(mark("load", 0, 10, "net", 1), mark("import", 2, 5, "transformers", 1))
    assert inside.parts_s == {"load": 7, "import": 3}
    beside = start(mark("load", 0, 10, "net", 1), mark("import", 2, 5, "transformers", 2))
    assert beside.parts_s == {"load": 10}


def test_loads_of_a_thread_that_lie_in_one_another_are_one():
    made = start(mark("load", 0, 9, "net"), mark("load", 2, 4, "weights"), mark("import", 5, 6))
    assert told(made) == [("load", 0, 5), ("import", 5, 6), ("load", 6, 9), ("other", 9, 10)]


def test_what_lies_between_the_first_import_and_the_first_compile_is_loading():
    made = start(
        mark("import", 1, 2, "torch"),
        mark("import", 4, 5, "lazily", thread=2),
        records=[compiled(7, 8)],
    )
    assert told(made) == [
        ("other", 0, 1),
        ("import", 1, 2),
        ("load", 2, 4),
        ("import", 4, 5),
        ("load", 5, 7),
        ("compile", 7, 8),
        ("other", 8, 10),
    ]


def test_nothing_is_inferred_where_a_load_is_known_or_nothing_compiled():
    known = start(mark("import", 1, 2), mark("load", 3, 4, "net"), records=[compiled(7, 8)])
    assert known.parts_s["load"] == 1
    assert "load" not in start(mark("import", 1, 2)).parts_s


def test_the_part_compile_is_split_by_component():
    made = start(
        records=[
            compiled(0, 2, component="encoder", is_encoder=True),
            compiled(1, 5, component="language_model"),
            compiled(5, 6, component="other", kind="kernel"),
        ]
    )
    assert made.parts_s == {"compile": 6, "other": 4}
    assert made.compile_s == {"encoder": 1, "language_model": 4, "other": 1}


def test_failed_compiles_and_loads_of_artefacts_have_their_part():
    made = start(
        records=[
            compiled(0, 2, outcome="failed"),
            compiled(2, 3, kind="load"),
            compiled(3, 4, kind="empty"),
        ]
    )
    assert made.parts_s == {"compile": 2, "load": 1, "other": 7}


def test_what_compiles_now_and_what_goes_on_counts_until_now():
    made = start(mark("load", 1, None), compiling=[("encoder", 4 * S, None)])
    assert told(made) == [("other", 0, 1), ("load", 1, 4), ("compile", 4, 10)]


def test_what_compiled_when_its_process_died_counts_until_its_last_sign_of_life():
    made = start(compiling=[("encoder", 4 * S, 6 * S)])
    assert told(made) == [("other", 0, 4), ("compile", 4, 6), ("other", 6, 10)]


def test_what_compiles_after_it_was_ready_changes_nothing():
    imported = mark("import", 1, 2)
    assert start(imported, records=[compiled(12, 13)]).parts_s == start(imported).parts_s


def test_thousands_of_marks_that_overlap_cost_no_time():
    marks = [mark("load", n / 1000, 5 + n / 1000, str(n)) for n in range(1024)]
    marks += [mark("import", n / 200, n / 200 + 0.001) for n in range(1024)]
    builders = [Doer(marks, {}) for _ in range(10)]
    began = time.process_time()
    Start.of(0, 10 * S, builders)
    assert time.process_time() - began < 5  # it was 90 s when it was quadratic


def test_names_of_marks_are_bounded():
    get_ledger().readiness.note(mark("import", 1, 2, "p" * 1000))
    assert len(get_ledger().readiness.marks[0].name) == 200


def test_what_lies_outside_of_the_start_is_left_out():
    made = start(mark("load", -5, 2), mark("wait", 8, 20))
    assert made.parts_s == {"load": 2, "wait": 2, "other": 6}


def test_other_processes_have_their_part_in_it():
    builder = TotalsBuilder()
    builder.add(compiled(3, 6))
    worker = Doer([mark("boot", 1, 2), mark("import", 2, 3, "vllm")], builder.intervals)
    made = start(mark("import", 0, 1, "vllm"), others=[worker])
    assert made.parts_s == {"boot": 1, "import": 2, "compile": 3, "other": 4}


def test_what_other_processes_did_meanwhile_is_beside_it():
    """Ready waited for the compile of one process; the other loaded and imported beside it."""
    other = Doer([mark("import", 1, 4), mark("load", 4, 9)], {})
    made = start(mark("import", 0, 2), records=[compiled(3, 8)], others=[other])
    assert told(made) == [
        *(("import", 0, 2), ("load", 2, 3), ("compile", 3, 8), ("load", 8, 9), ("other", 9, 10)),
    ]
    assert made.beside_s == {"load": 4.0, "import": 2.0}


def test_nothing_is_beside_where_one_process_does_all():
    marks = [mark("import", 0, 2), mark("import", 4, 5), mark("load", 3, 7, thread=2)]
    assert start(*marks, records=[compiled(3, 8)]).beside_s == {}
    # Two that do the same at once: one waited for both.
    twice = start(records=[compiled(3, 8)], others=[start_of_another()])
    assert twice.beside_s == {}


def start_of_another():
    builder = TotalsBuilder()
    builder.add(compiled(3, 7))
    return Doer((), builder.intervals)


def test_imports_are_summed_by_package_longest_first():
    made = start(
        mark("import", 0, 1, "torch"),
        mark("import", 2, 6, "transformers"),
        mark("import", 6, 7, "torch"),
    )
    assert list(made.imports_s.items()) == [("transformers", 4.0), ("torch", 2.0)]


def test_any_marks_sum_to_the_whole():
    random.seed(5)
    parts = ["boot", "load", "import", "wait"]
    for _ in range(200):
        marks = [
            mark(
                random.choice(parts),
                (begin := random.uniform(-2, 10)),
                begin + random.uniform(0, 6),
                random.choice(["a", "b"]),
                random.randrange(3),
            )
            for _ in range(random.randrange(12))
        ]
        records = [compiled(at := random.uniform(0, 9), at + 1) for _ in range(random.randrange(4))]
        made = start(*marks, records=records)
        assert made.segments[0].start_ns == 0
        assert made.segments[-1].end_ns == 10 * S
        for before, after in itertools.pairwise(made.segments):
            assert before.end_ns == after.start_ns
            assert (before.part, before.name, before.component) != (
                after.part,
                after.name,
                after.component,
            )
        assert sum(made.parts_s.values()) == pytest.approx(10)
        joined = made.joined()
        assert sum(each.duration_ns for each in joined) == 10 * S


def test_for_people_short_segments_join_their_predecessor():
    made = start(
        mark("boot", 0, 0.01),
        mark("import", 0.01, 2, "torch"),
        mark("import", 2.01, 2.03, "numpy"),
        mark("load", 3, 4),
    )
    assert [(each.part, each.start_ns / S, each.end_ns / S) for each in made.joined()] == [
        ("import", 0, 2.03),
        ("other", 2.03, 3),
        ("load", 3, 4),
        ("other", 4, 10),
    ]
    assert made.parts_s["boot"] == pytest.approx(0.01)  # in the sums they stay


def test_there_are_at_most_64_of_them():
    marks = [mark("load", at / 20, at / 20 + 0.02 + at / 10**4, str(at)) for at in range(200)]
    joined = start(*marks, end=10).joined(least_ns=0)
    assert len(joined) <= MAX_SEGMENTS
    assert (joined[0].start_ns, joined[-1].end_ns) == (0, 10 * S)


# A process


def test_a_process_says_what_its_start_was_made_of():
    readiness = get_ledger().readiness
    with readiness.doing("load", "net"):
        time.sleep(0.02)
    with monitor_torch_compile("net", kind="compile"):
        time.sleep(0.02)
    mark_ready()
    made = get_ledger().start()
    assert made.parts_s["load"] >= 0.02
    assert made.parts_s["compile"] >= 0.02
    assert sum(made.parts_s.values()) == pytest.approx(readiness.after_s, abs=1e-6)
    with monitor_torch_compile("net", kind="compile"):
        time.sleep(0.02)
    with readiness.doing("load", "later"):
        pass
    assert get_ledger().start() == made


def test_what_goes_on_when_it_is_ready_ends_then():
    readiness = get_ledger().readiness
    waiting = readiness.begin("wait", "POST /warmup")
    assert readiness.marks[-1].end_ns is None
    mark_ready()
    (mark,) = [each for each in readiness.marks if each.part == "wait"]
    assert mark.end_ns is not None
    readiness.end(waiting)
    assert [each.part for each in readiness.marks].count("wait") == 1


def test_marks_are_bounded():
    readiness = get_ledger().readiness
    for number in range(MAX_MARKS + 50):
        readiness.note(mark("import", number, number + 1))
    assert len(readiness.marks) == MAX_MARKS


def test_marks_of_several_threads_are_kept_apart():
    readiness = get_ledger().readiness
    together = threading.Barrier(4)  # a thread that begins later may have the id of one that ended

    def work():
        with readiness.doing("load"):
            together.wait(20)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each.thread_id for each in readiness.marks}) == 4


def test_marks_are_journalled_those_before_its_journal_too(tmp_path):
    readiness = get_ledger().readiness
    readiness.note(mark("load", 1, 2, "before"))
    journal = open_journal(tmp_path)
    readiness.note(mark("load", 3, 4, "after"))
    with readiness.doing("wait"):
        assert journal.flush()
    assert journal.flush()
    read = ProcessJournal(journal.path).refresh()
    assert read.is_complete
    assert [each.name for each in read.marks] == ["before", "after", None]
    assert read.marks == readiness.marks


def test_the_metrics_are_the_whole_and_its_parts(instrumented):
    going_on = instrumented.points("compilespan.startup.part.duration")
    assert sum(seconds for _, seconds in going_on) > 0  # seen while it goes on
    with get_ledger().readiness.doing("load"):
        time.sleep(0.01)
    for is_encoder in (True, False):
        with monitor_torch_compile("net", is_encoder=is_encoder, kind="compile"):
            time.sleep(0.01)
    mark_ready()
    ((_, whole),) = instrumented.points("compilespan.startup.duration")
    start = get_ledger().start()
    parts, compiled = {}, {}
    for attributes, value in instrumented.points("compilespan.startup.part.duration"):
        part, component = (
            attributes["compilespan.startup.part"],
            attributes.get("torch.compile.component"),
        )
        assert (part == "compile") is (component is not None)
        parts[part] = parts.get(part, 0.0) + value
        if component is not None:
            compiled[component] = value
            assert attributes["is_encoder"] is (component == "encoder")
    assert compiled.pop("other") == 0
    assert set(parts) == set(get_args(Part))
    parts = {part: seconds for part, seconds in parts.items() if seconds}
    assert whole == get_ledger().readiness.after_s
    assert parts == pytest.approx(start.parts_s)
    assert compiled == start.compile_s
    assert set(compiled) == {"encoder", "language_model"}
    assert sum(parts.values()) == pytest.approx(whole, abs=1e-6)
    ((_, began_s),) = instrumented.points("compilespan.startup.began")
    assert began_s * 1e9 == pytest.approx(get_ledger().readiness.since_ns)


def test_a_start_that_was_ready_before_its_span_began_is_reported_whole(exported):
    """A BentoML worker warms up before it runs the lifespan of the endpoints."""
    with monitor_torch_compile("net", is_encoder=True, kind="compile"):
        time.sleep(0.06)
    mark_ready()
    Startup().begin()
    (span,) = exported.named("compilespan.startup")
    assert span.attributes["compilespan.startup.outcome"] == "ready"
    assert span.end_time == get_ledger().readiness.ready_ns
    parts = {each.attributes.get("compilespan.startup.part") for each in exported.spans}
    assert "compile" in parts


def test_the_span_of_a_start_has_children_without_gaps(exported):
    startup = Startup()
    startup.begin()
    with get_ledger().readiness.doing("load", "net"):
        time.sleep(0.06)
    with monitor_torch_compile("net", is_encoder=True, kind="compile"):
        time.sleep(0.06)
    mark_ready()
    (span,) = exported.named("compilespan.startup")
    parts = [each for each in exported.spans if "compilespan.startup.part" in each.attributes]
    assert [each.parent.span_id for each in parts] == [span.context.span_id] * len(parts)
    assert (parts[0].start_time, parts[-1].end_time) == (span.start_time, span.end_time)
    for before, after in itertools.pairwise(parts):
        assert before.end_time == after.start_time
    attributes = {each.name: dict(each.attributes) for each in parts}
    assert attributes["compilespan.startup.load"] == {
        "compilespan.startup.part": "load",
        "compilespan.startup.part.name": "net",
    }
    assert attributes["compilespan.startup.compile"] == {
        "compilespan.startup.part": "compile",
        "is_encoder": True,
        "torch.compile.component": "encoder",
    }


# Cold, warm, no cache


@pytest.mark.parametrize(
    ("records", "is_over", "state"),
    [
        ([{"cache_misses": 1, "cache_hits": 3}], True, "cold"),
        ([{"cache_hits": 3, "cache_bypasses": 1}], True, "warm"),
        ([{"kind": "load"}], True, "warm"),
        ([{"kind": "load", "outcome": "failed"}], True, "no cache"),
        ([{"cache_bypasses": 1}], True, "no cache"),
        ([{}], True, "no cache"),
        ([], True, "no cache"),
        ([{"cache_misses": 1}], False, "unknown"),
    ],
)
def test_what_caches_were_worth_is_one_word(records, is_over, state):
    builder = TotalsBuilder()
    counts = {"cache_hits": 0, "cache_misses": 0, "cache_bypasses": 0, "cache_result": None}
    for fields in records:
        builder.add(record(**{**counts, **fields}))
    assert cache_state(builder.build().total, is_over=is_over) == state
