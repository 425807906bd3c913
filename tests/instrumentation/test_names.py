"""Names that a person recognises, whatever was wrapped around what compiles."""

from __future__ import annotations

import functools
import os

import pytest
import torch
import wrapt

from compilespan import get_ledger, mark_component, monitor_torch_compile

X = torch.ones(2, 4)


class LlamaBlock(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x).relu()


class Scale:
    def __call__(self, x):
        return x * 3

    def method(self, x):
        return x * 4


def double(x):
    return x * 2


def times(x, by):
    return x * by


def decorated(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def undocumented(function):
    def wrapper(self, x):
        return function(self, x)

    return wrapper


class Decorated(LlamaBlock):
    @decorated
    def forward(self, x):
        return self.linear(x)


class Undocumented(LlamaBlock):
    @undocumented
    def forward(self, x):
        return self.linear(x).tanh()


@wrapt.decorator
def passing(wrapped, _instance, args, kwargs):
    return wrapped(*args, **kwargs)


GIVEN = {
    "function": (double, "double", double),
    "partial": (functools.partial(times, by=2), "times", times),
    "partial of a module": (functools.partial(LlamaBlock()), "LlamaBlock", LlamaBlock.forward),
    "callable object": (Scale(), "Scale", Scale.__call__),
    "partial of an object": (functools.partial(Scale()), "Scale", Scale.__call__),
    "method of a plain object": (Scale().method, "Scale.method", Scale.method),
    "bound method": (LlamaBlock().forward, "LlamaBlock", LlamaBlock.forward),
    "no_grad": (torch.no_grad()(LlamaBlock().forward), "LlamaBlock", LlamaBlock.forward),
    "module of torch": (torch.nn.Linear(4, 4), "Linear", torch.nn.Linear.forward),
    "decorated forward": (Decorated(), "Decorated", Decorated.forward.__wrapped__),
    "decorated without wraps": (
        Undocumented(),
        "Undocumented",
        Undocumented.forward.__closure__[0].cell_contents,
    ),
    "wrapped by wrapt": (passing(double), "double", double),
}


@pytest.mark.parametrize("how", GIVEN)
def test_name_and_place_are_what_a_person_would_look_up(instrumented, how):
    given, name, function = GIVEN[how]
    with torch.no_grad():
        torch.compile(given, backend="eager")(X)
    record = [each for each in get_ledger().records() if each.outcome == "ok"][-1]
    code = function.__code__
    assert record.name.rpartition("<locals>.")[2] == name
    assert (record.file, record.line) == (code.co_filename, code.co_firstlineno)
    span = instrumented.compiles[-1]
    assert span.attributes["code.function.name"].startswith(f"{function.__module__}.")
    assert span.attributes["code.function.name"].endswith(function.__qualname__)


def test_an_operator_that_compiles_itself_is_called_as_the_program_calls_it(instrumented):
    torch.cond(torch.tensor(True), lambda x: x + 1, lambda x: x - 1, (X,))
    names = {record.name for record in get_ledger().records()}
    assert names == {"cond"}


def test_a_class_that_torch_derived_is_called_by_its_own_name():
    """As FSDP2 derives them: a class in torch's module, of its own and the original."""
    from compilespan.dynamo.naming import class_name

    mixin = type("FSDPModule", (), {})
    derived = type("FSDPLlamaBlock", (mixin, LlamaBlock), {})
    derived.__module__ = "torch.distributed.fsdp._fully_shard._fsdp_init"
    assert class_name(derived) == "LlamaBlock"
    assert class_name(LlamaBlock) == "LlamaBlock"


def test_compiled_autograd_carries_the_name_of_its_forward(instrumented):
    model = torch.compile(LlamaBlock(), backend="aot_eager")
    with torch._dynamo.compiled_autograd._enable(torch.compile(backend="eager")):
        model(X).sum().backward()
    records = get_ledger().records()
    assert [record.name for record in records] == ["LlamaBlock", "LlamaBlock"]
    assert {record.component for record in records} == {"language_model"}


@pytest.mark.parametrize("how", ["name", "event", "key", "value", "list"])
def test_a_lone_surrogate_breaks_no_output(exported, how):
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    bad = os.fsdecode(b"caf\xe9")
    with monitor_torch_compile(bad if how == "name" else "a", kind="compile") as monitor:
        monitor.add_event(
            bad if how == "event" else "e",
            {
                bad if how == "key" else "k": bad if how == "value" else "v",
                "l": [bad if how == "list" else "v"],
            },
        )
    assert encode_spans(exported.spans).SerializeToString()
    assert str(get_ledger().records()[0]).encode("utf-8")


def test_names_are_one_line_of_at_most_200_characters(exported):
    with monitor_torch_compile("two\nlines " + "x" * 500):
        pass
    (record,) = get_ledger().records()
    assert len(record.name) == 200
    assert "\n" not in record.name


def decorated(function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        return function(*args, **kwargs)

    return call


class WrappedForward(torch.nn.Module):
    @passing
    def forward(self, x):
        return x * 2


BLOCK, WRAPPED, SCALE = LlamaBlock(), WrappedForward(), Scale()
MARKED = {
    "functools.wraps": (BLOCK, decorated(BLOCK.forward)),
    "wrapt": (BLOCK, passing(BLOCK.forward)),
    "partial of wrapt": (BLOCK, functools.partial(passing(BLOCK.forward))),
    "a forward below wrapt": (WRAPPED, WRAPPED.forward),
    "no_grad of that": (WRAPPED, torch.no_grad()(WRAPPED.forward)),
    "wrapt of a function": (double, passing(double)),
    "lru_cache": (double, functools.lru_cache(double)),
    "a method of an object": (SCALE, SCALE.method),
}


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
@pytest.mark.parametrize("on", ["what is wrapped", "the wrapper"])
@pytest.mark.parametrize("how", MARKED)
def test_a_mark_holds_through_wrappers(instrumented, how, on):
    wrapped, given = MARKED[how]
    try:
        mark_component(given if on == "the wrapper" else wrapped, is_encoder=True)
        with torch.no_grad():
            torch.compile(given, backend="eager")(X)
    finally:
        for each in (BLOCK, WRAPPED, SCALE, SCALE.method.__func__, double):
            vars(each).pop("_compilespan_is_encoder", None)
    record = [each for each in get_ledger().records() if each.outcome == "ok"][-1]
    assert record.component == "encoder"
    assert "Wrapper" not in record.name


def test_a_builtin_of_torch_has_no_place(instrumented):
    torch.compile(torch.sin, backend="eager")(X)
    (record,) = get_ledger().records()
    assert (record.name, record.file, record.line) == ("sin", None, None)
