"""What Dynamo gives back says why and where: on the span, on the record, in the warmup."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from compilespan import WarmupTarget, get_ledger, warm
from support import events, since_torch


def score(x):
    for _ in range(3):
        x = x + 1
        print("step", end="")  # noqa: T201  # what Dynamo gives back
    return x


LINE = score.__code__.co_firstlineno + 3


def only_record():
    (record,) = get_ledger().records()
    return record


@since_torch("2.10", "no exception tells why")
def test_a_break_in_a_loop_has_its_reason_line_hint_and_link(instrumented):
    torch.compile(score, backend="eager")(torch.ones(2))
    record = only_record()
    assert (record.outcome, record.graphs) == ("skipped", 0)
    assert "print" in record.skip_reason
    (found,) = record.graph_breaks
    assert (found.file, found.line) == (__file__, LINE)
    assert found.hint
    assert found.link.startswith("https://")
    assert len(found.reason) <= 1024
    (span,) = instrumented.compiles
    assert span.attributes["torch.compile.skip.reason"] == record.skip_reason
    (event,) = events(span, "torch.compile.graph_break")
    assert event["code.line.number"] == LINE
    assert event["torch.compile.graph_break.link"] == found.link
    assert "error.type" not in span.attributes


def test_the_frame_itself_has_its_place(instrumented):
    torch.compile(score, backend="eager")(torch.ones(2))
    record = only_record()
    assert (record.file, record.line) == (__file__, score.__code__.co_firstlineno)


def no_operations(x):
    return x


def users_error(x):
    raise ValueError("mine")


def in_a_with(x):
    with open("/dev/null") as file:  # noqa: PTH123
        file.read()
        return x + 1


@pytest.mark.parametrize("function", [no_operations, users_error, in_a_with, score])
def test_every_skipped_frame_has_a_reason(instrumented, function):
    compiled = torch.compile(function, backend="eager")
    expected = pytest.raises(ValueError, match="mine") if function is users_error else nullcontext()
    with expected:
        compiled(torch.ones(2))
    skipped = [r for r in get_ledger().records() if r.outcome == "skipped"]
    assert skipped
    for record in skipped:
        assert record.skip_reason
        assert record.file
        assert record.line
        assert record.error_type is None


def test_the_recompile_limit_names_its_guard_and_what_helps(instrumented):
    model = torch.compile(lambda x: x * 2, backend="eager", dynamic=False)
    for size in range(1, 12):
        model(torch.ones(size))
    record = get_ledger().records()[-1]
    assert record.recompile_limit_hit
    assert record.outcome == "skipped"
    assert "size mismatch" in record.recompile_reason
    assert "mark the dimension dynamic" in record.skip_reason
    (event,) = events(instrumented.compiles[-1], "torch.compile.recompile_limit")
    assert event["torch.compile.recompile.reason_class"] == "size"


def test_first_compiles_of_many_instances_hit_it_with_a_reason_that_is_no_size(instrumented):
    class Scale(torch.nn.Module):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def forward(self, x):
            return x * 2 if self.name == "double" else x * 3

    for number in range(10):
        torch.compile(Scale(f"net {number}"), backend="eager")(torch.ones(2))
    records = get_ledger().records()
    assert not any(record.is_recompile for record in records)
    limit = records[-1]
    assert limit.recompile_limit_hit
    assert "value: " in limit.skip_reason
    assert "dimension" not in limit.skip_reason


def test_reasons_are_at_most_1024_characters(instrumented):
    model = torch.compile(lambda x, text: x + len(text), backend="eager")
    for letter in "abcdefghijk":
        model(torch.ones(2), letter * 3000)
    for record in get_ledger().records():
        assert len(record.recompile_reason or "") <= 1024
        assert len(record.skip_reason or "") <= 1024


def test_two_breaks_on_one_line_are_no_recompile(instrumented):
    def compare(a, b):
        if a.item() > b.item():
            return a * 2
        return b * 2

    torch.compile(compare, backend="eager")(torch.ones(1), torch.zeros(1))
    assert len(get_ledger().records()) > 1
    assert not any(record.is_recompile for record in get_ledger().records())


def test_the_users_line_is_reported_for_a_break_in_a_library(instrumented):
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    @torch.compile(backend="eager")
    def train(x):
        model(x).sum().backward()
        optimizer.step()

    train(torch.ones(2, 2))
    breaks = [b for record in get_ledger().records() for b in record.graph_breaks]
    assert breaks
    assert all(found.file == __file__ for found in breaks), breaks
    assert any("torch" in found.inner_file for found in breaks)


def test_two_objects_of_a_plain_class_are_two_owners(instrumented):
    class Engine:
        def __init__(self, by):
            self.by = by
            self.run = torch.compile(self.step, backend="eager")

        def step(self, x):
            return x * self.by

    first, second = Engine(1.5), Engine(2.5)
    first.run(torch.ones(2))
    second.run(torch.ones(2))
    assert [record.is_recompile for record in get_ledger().records()] == [False, False]
    first.run(torch.ones(2, dtype=torch.float64))
    assert get_ledger().records()[-1].is_recompile


@since_torch("2.10", "no exception tells why")
def test_a_warmup_says_why_a_frame_runs_eager(instrumented):
    model = torch.compile(score, backend="eager")
    result = warm([WarmupTarget("score", lambda _: model(torch.ones(2)), [{}])])
    (item,) = result.items
    assert item.state == "eager"
    assert "print" in item.error
    assert f"{__file__}:{LINE}" in item.error
    assert item.error in result.warnings[0]
