"""The pytest plugin, in sessions of pytest of their own."""

from __future__ import annotations

import re

import pytest

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(300)]

MODEL = """
import pytest
import torch

def fresh(**options):
    torch._dynamo.reset()
    return torch.compile(lambda x: x * 2, backend="eager", **options)

"""


@pytest.fixture
def session(pytester):
    """Return a function that runs tests, and returns what pytest said."""

    def run(tests, *arguments):
        pytester.makepyfile(MODEL + tests)
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments, timeout=200)

    return run


def test_a_marker_that_holds_passes(session):
    done = session(
        """
@pytest.mark.compilespan(compiles=2, graph_breaks=0, recompiles=1)
def test_two():
    model = fresh(dynamic=False)
    model(torch.ones(3))
    model(torch.ones(4))

@pytest.mark.compilespan(compiles=0)
def test_none():
    pass
"""
    )
    done.assert_outcomes(passed=2)


def test_a_failure_shows_what_compiled_with_reason_line_and_fix(session):
    done = session(
        """
@pytest.mark.compilespan(compiles=1, recompiles=0)
def test_one():
    model = fresh(dynamic=False)
    model(torch.ones(3))
    model(torch.ones(4))
"""
    )
    done.assert_outcomes(failed=1)
    said = done.stdout.str()
    assert "compiles: expected 1, got 2" in said
    assert "recompiles: expected 0, got 1" in said
    assert re.search(r"<lambda> \(\S*test_a_failure\w*\.py:6\): recompile, ", said), said
    assert re.search(r"because .*size mismatch at index 0. expected 3, actual 4", said)
    assert re.search(r"CS\d+ .*\n.*fix: ", said)
    assert "Traceback" not in said


def test_a_graph_break_is_shown_where_it_is(session):
    done = session(
        """
def broken(x):
    x = x + 1
    torch._dynamo.graph_break()
    return x * 2

@pytest.mark.compilespan(graph_breaks=0)
def test_whole():
    torch.compile(broken, backend="eager")(torch.ones(3))
"""
    )
    done.assert_outcomes(failed=1)
    assert re.search(r"graph break \(\S+\.py:11\): ", done.stdout.str())


def test_a_block_is_checked_alone(session):
    done = session(
        """
def test_block(compile_ledger):
    model = fresh(dynamic=False)
    with compile_ledger.expect(compiles=1):
        model(torch.ones(3))
    with compile_ledger.expect(compiles=0):
        model(torch.ones(3))
    assert compile_ledger.totals.total.compiles == len(compile_ledger.records) == 1
    with compile_ledger.expect(compiles=0):
        model(torch.ones(4))

def test_of_its_own(compile_ledger):
    assert compile_ledger.records == ()

def test_an_error_stays_its_own(compile_ledger):
    with pytest.raises(KeyError), compile_ledger.expect(compiles=1):
        raise KeyError

def test_seconds(compile_ledger):
    with compile_ledger.expect(max_seconds=0.0):
        fresh()(torch.ones(3))
"""
    )
    done.assert_outcomes(passed=2, failed=2)
    assert "compiles: expected 0, got 1" in done.stdout.str()
    assert "seconds: at most 0 expected" in done.stdout.str()


def test_a_compile_that_fails_counts(session):
    done = session(
        """
def bad(gm, inputs):
    raise RuntimeError("no kernel")

@pytest.mark.compilespan(compiles=0)
def test_failed():
    with pytest.raises(Exception, match="no kernel"):
        torch.compile(lambda x: x + 1, backend=bad)(torch.ones(3))
"""
    )
    done.assert_outcomes(failed=1)
    assert "compile, failed" in done.stdout.str()


@pytest.mark.parametrize(
    "arguments", ["compile=1", "1", "compiles=1, unknown=2"], ids=["typo", "position", "more"]
)
def test_a_marker_that_cannot_be_right_says_so(session, arguments):
    done = session(f"@pytest.mark.compilespan({arguments})\ndef test_it():\n    pass\n")
    done.assert_outcomes(failed=1)
    assert "@pytest.mark.compilespan: " in done.stdout.str()


TABLE = """
@pytest.mark.parametrize("size", [3, 4])
def test_compiles(size):
    fresh()(torch.ones(size))

def test_not():
    pass
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_a_table_over_the_session(session, workers):
    done = session(TABLE, "--compilespan", *workers)
    done.assert_outcomes(passed=3)
    lines = done.stdout.str().partition("torch.compile =")[2].splitlines()
    rows = [line.split() for line in lines if re.search(r"test_compiles|all 3", line)]
    assert [row[:2] for row in rows] == [["1", "0"], ["1", "0"], ["2", "0"]]
    assert float(rows[0][4]) >= float(rows[1][4])


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_seconds_of_the_session_are_bounded(session, workers):
    done = session(TABLE, "--compilespan-max-seconds", "0.000001", *workers)
    assert done.ret == 1
    done.assert_outcomes(passed=3)
    assert "--compilespan-max-seconds is 1e-06" in done.stdout.str()
    assert session(TABLE, "--compilespan-max-seconds", "60", *workers).ret == 0


def test_who_does_not_ask_gets_nothing(pytester):
    """The plugin is loaded in each session; it imports neither torch nor compilespan."""
    pytester.makepyfile(
        """
import sys

def test_nothing():
    loaded = {name for name in sys.modules if name.partition(".")[0] in ("torch", "compilespan")}
    assert loaded == set()
    assert "pytest_compilespan.plugin" in sys.modules
"""
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_an_instrumentation_of_the_program_stays(session):
    done = session(
        """
from compilespan import TorchCompileInstrumentor, get_ledger

TorchCompileInstrumentor().instrument()

@pytest.mark.compilespan(compiles=1)
def test_it():
    fresh()(torch.ones(3))

def test_afterwards():
    fresh()(torch.ones(3))
    assert len(get_ledger().records()) == 2
"""
    )
    done.assert_outcomes(passed=2)


def test_a_marker_of_the_test_outweighs_that_of_its_class_number_by_number(session):
    done = session(
        """
@pytest.mark.compilespan(compiles=0, recompiles=0)
class TestAll:
    def test_compiles(self):
        fresh()(torch.ones(3))

    @pytest.mark.compilespan(compiles=1)
    def test_one(self):
        fresh()(torch.ones(3))

    @pytest.mark.compilespan(compiles=2)
    def test_two(self):
        model = fresh(dynamic=False)
        model(torch.ones(3))
        model(torch.ones(4))
"""
    )
    done.assert_outcomes(passed=1, failed=2)
    assert "recompiles: expected 0, got 1" in done.stdout.str()


def test_a_failure_names_a_backward_and_what_was_compiled_before(session):
    done = session(
        """
def double(x):
    return (x * 2).sum()

@pytest.mark.compilespan(compiles=1)
def test_backward():
    torch.compile(double, backend="aot_eager")(torch.ones(3, requires_grad=True)).backward()

@pytest.mark.compilespan(compiles=1)
def test_again():
    torch.compile(double, backend="aot_eager")(torch.ones(3, requires_grad=True))
"""
    )
    done.assert_outcomes(failed=2)
    assert "compile, of the backward" in done.stdout.str()
    assert "call torch._dynamo.reset() first" in done.stdout.str()
