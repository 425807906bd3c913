"""What Dynamo's guard texts say, by real programs: each is recompiled, and its text classified."""

from __future__ import annotations

import contextlib
import enum

import pytest
import torch

from compilespan import get_ledger
from compilespan.ledger.reasons import advice, guard, limit_advice, reason_class
from support import since_torch


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Held:
    def __init__(self, value):
        self.value = value


class Flagged(torch.nn.Module):
    def __init__(self, flag):
        super().__init__()
        self.flag = flag

    def forward(self, x):
        return x + 1 if self.flag else x - 1


def plus(x, n):
    return x + n


def by_length(x, values):
    return x + len(values)


def by_value(x, value):
    return x + 1 if value else x - 1


def by_attribute(x, held):
    return x + held.value


def by_colour(x, colour):
    return x + 1 if colour is Colour.RED else x - 1


def double(x, *_):
    return x * 2


@contextlib.contextmanager
def threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


@contextlib.contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


ONES = torch.ones(4, 4)
NOTHING = contextlib.nullcontext
PROGRAMS = {
    "size": (double, (torch.ones(3, 4),), NOTHING, "size"),
    "rank": (double, (torch.ones(4),), NOTHING, "size"),
    "stride": (double, (torch.ones(4, 4).t(),), NOTHING, "size"),
    "dtype": (double, (ONES.double(),), NOTHING, "dtype"),
    "device": (double, (ONES.to("meta"),), NOTHING, "type"),
    "no_grad": (double, (ONES,), torch.no_grad, "grad_mode"),
    "inference_mode": (double, (ONES,), torch.inference_mode, "grad_mode"),
    "threads": (double, (ONES,), lambda: threads(3), "num_threads"),
    "autocast": (double, (ONES,), lambda: torch.autocast("cpu"), "global_state"),
    "deterministic": (double, (ONES,), deterministic, "global_state"),
    "a tensor that is None": (double, (None,), NOTHING, None),
}
PAIRS = {
    "length of a dict": (by_length, ({"a": 1},), ({"a": 1, "b": 2},), "value"),
    "length of a list": (by_length, ([1],), ([1, 2],), "value"),
    "a bool": (by_value, (True,), (False,), "value"),
    "a text": (by_length, ("size mismatch",), ("dtype",), "value"),
    "an attribute": (by_attribute, (Held(1.5),), (Held(2.5),), "value"),
    "an enum": (by_colour, (Colour.RED,), (Colour.BLUE,), "value"),
    "list or tuple": (by_length, ([1],), ((1,),), "type"),
    "tensor or not": (plus, (torch.ones(4, 4),), (2,), "type"),
    "None or not": (by_value, (None,), (torch.ones(1),), "type"),
}


def reasons():
    return [r.recompile_reason for r in get_ledger().records() if r.is_recompile]


@pytest.mark.parametrize("how", [name for name in PROGRAMS if PROGRAMS[name][3]])
def test_what_changed_around_a_call_is_classified(instrumented, how):
    function, arguments, around, expected = PROGRAMS[how]
    compiled = torch.compile(function, backend="eager", dynamic=False)
    compiled(ONES)
    with around():
        compiled(*arguments)
    (reason,) = reasons()
    assert reason_class(reason) == expected, reason


@pytest.mark.parametrize("how", PAIRS)
def test_what_changed_in_an_argument_is_classified(instrumented, how):
    function, first, second, expected = PAIRS[how]
    compiled = torch.compile(function, backend="eager", dynamic=False)
    compiled(ONES, *first)
    compiled(ONES, *second)
    (reason,) = reasons()
    assert reason_class(reason) == expected, reason


def test_inference_mode_against_no_grad_is_the_grad_mode(instrumented):
    compiled = torch.compile(double, backend="eager")
    with torch.no_grad():
        compiled(torch.ones(3))
    with torch.inference_mode():
        compiled(torch.ones(3))
    (reason,) = reasons()
    assert "dispatch key set mismatch" in reason
    assert reason_class(reason) == "grad_mode"
    assert "no_grad, inference_mode or neither" in advice(reason)


@since_torch("2.10", "the reason for another backend is empty")
def test_another_backend_is_a_class_of_its_own(instrumented):
    torch.compile(double, backend="eager")(ONES)
    torch.compile(double, backend="aot_eager")(ONES)
    (reason,) = reasons()
    assert reason_class(reason) == "backend"
    assert "one backend" in advice(reason)


def test_a_recompile_that_torch_refused_has_its_reason(instrumented):
    compiled = torch.compile(double, backend="eager", dynamic=False)
    compiled(torch.zeros(2))
    patched = torch._dynamo.config.patch(error_on_recompile=True)
    with patched, pytest.raises(torch._dynamo.exc.RecompileError):
        compiled(torch.zeros(3))
    refused = get_ledger().records()[-1]
    assert (refused.outcome, refused.is_recompile) == ("failed", True)
    assert "size mismatch at index 0. expected 2, actual 3" in refused.recompile_reason
    assert reason_class(refused.recompile_reason) == "size"


def test_another_instances_first_compile_that_is_refused_is_no_recompile(instrumented):
    modules = [Flagged(flag=flag) for flag in (True, False)]
    torch.compile(modules[0], backend="eager")(ONES)
    patched = torch._dynamo.config.patch(error_on_recompile=True)
    with patched, pytest.raises(torch._dynamo.exc.RecompileError):
        torch.compile(modules[1], backend="eager")(ONES)
    refused = get_ledger().records()[-1]
    assert (refused.outcome, refused.is_recompile) == ("failed", False)
    assert get_ledger().totals().total.recompiles == 0


def test_a_flag_of_a_module_is_a_value(instrumented):
    module = Flagged(flag=True)
    compiled = torch.compile(module, backend="eager")
    compiled(ONES)
    module.flag = False
    compiled(ONES)
    (reason,) = reasons()
    assert reason_class(reason) == "value", reason


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("0/0: tensor 'x' size mismatch at index 0. expected 2, actual 3", "size"),
        ("2 <= L['x'].size()[0]", "size"),
        ("L['self'].flag == 3", "value"),
        ("0/3: n == 3      # dtype = size mismatch  # app.py:7 in step", "value"),
        ("s == 'GLOBAL_STATE changed: grad_mode'", "value"),
        ("tensor 'x' requires_grad mismatch. expected requires_grad=0", "other"),
        ("x is y", "other"),
        ("", "other"),
    ],
)
def test_only_the_guard_itself_is_classified(reason, expected):
    assert reason_class(reason) == expected


def test_the_guard_is_cut_out_of_its_source_line_and_stack():
    text = "!0/0/1: n == 3    # if n == 3:  # app.py:7 in step (HINT: x)\nUser stack trace:\n  File"
    assert guard(text) == "n == 3"


def test_the_advice_at_the_limit_fits_the_class():
    assert "mark the dimension dynamic" in limit_advice("0/7: tensor 'x' size mismatch at index 0.")
    for reason in ("0/7: s.k == 7.5", None):
        text = limit_advice(reason)
        assert "recompile_limit" in text
        assert "dimension" not in text
