"""Private names of torch: each is there in this version, and each may be missing in another."""

from __future__ import annotations

import ast
import importlib
import inspect
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import wrapt

from compilespan import TorchCompileInstrumentor, get_ledger
from compilespan.dynamo import opening, private
from support import LACKING

TORCHS = [
    each
    for each in private.REGISTER
    if each.module.startswith("torch") and each.name not in LACKING
]
LOST = {
    each.name: each.lost
    for each in private.REGISTER
    if each.name in LACKING and not each.is_optional
}
# Not patched but looked up: by the verify pass of a warmup, or while a compile begins.
LOOKED_UP = (
    *(private.GUARD_HOOK, private.SKIP_CODE, private.CALL_IMPL, private.FRAME),
    *(private.AOT_CALL, private.AOTI_CALL, private.STANDALONE_CALL),
    *(private.UNSUPPORTED, private.USER_ERROR, private.COMPILED_AUTOGRAD),
    *(private.COMPILE_CONTEXT, private.CACHE_DIRECTORY, private.HEADER_DIRECTORY),
    private.INSTRUCTION_SET,
)


class Double(torch.nn.Module):
    def forward(self, x):
        return x * 2


@pytest.mark.parametrize("name", TORCHS, ids=lambda name: name.name)
def test_a_private_name_is_there_in_this_version(name):
    importlib.import_module(name.module)
    assert name.found() is not None
    assert get_ledger().missing() == {}


def test_the_locals_that_are_read_are_there():
    code = inspect.unwrap(private.FRAME.found()).__code__
    assert set(private.FRAME_LOCALS) <= {*code.co_varnames, *code.co_cellvars}


@pytest.mark.parametrize(
    "name", [each for each in TORCHS if not each.is_optional], ids=lambda name: name.name
)
def test_a_missing_name_costs_what_it_provided_and_one_line(monkeypatch, caplog, name):
    module = importlib.import_module(name.module)
    if name in LOOKED_UP:
        modules = {**sys.modules, name.module: Lacking(module, name.path)}
        monkeypatch.setattr(private, "sys", SimpleNamespace(modules=modules))
    original = wrapt.resolve_path

    def resolve_path(module, path):
        if (getattr(module, "__name__", None), path) == (name.module, name.path):
            raise AttributeError(path)
        return original(module, path)

    monkeypatch.setattr("compilespan.dynamo.patches.wrapt.resolve_path", resolve_path)
    with caplog.at_level(logging.WARNING, logger="compilespan"):
        TorchCompileInstrumentor().instrument()
        module = torch.compile(Double(), backend="eager")
        for size in (3, 4):
            assert module(torch.ones(size)).tolist() == [2.0] * size
        if name in LOOKED_UP:
            assert name.found() is None
    assert get_ledger().missing() == {**LOST, name.name: name.lost}
    lines = [line for line in caplog.messages if "cannot be used in this version" in line]
    (line,) = [line for line in lines if name.name in line]
    assert len(lines) == 1 + len(LOST)
    assert name.lost in line
    if name not in (private.METRICS_ENTER, private.METRICS_EXIT):
        assert [record.outcome for record in get_ledger().records()] == ["ok", "ok"]


def test_all_that_enter_the_metrics_context_are_known():
    """A function that is not known would be recorded as a frame of its own name."""
    entering = set()
    for path in Path(torch.__file__).parent.rglob("*.py"):
        text = path.read_text("utf-8", errors="replace")
        if "get_metrics_context()" in text:
            for function in ast.walk(ast.parse(text)):
                if isinstance(function, ast.FunctionDef) and enters(function):
                    entering.add(function.name)
    known = {opening._FRAME, *opening._BY_CALLER}
    assert entering
    assert entering <= known


def enters(function):
    """Whether a function itself, and not one inside, has the context in a `with`."""
    inside = [each for each in ast.walk(function) if each is not function]
    nested = {
        node for each in inside if isinstance(each, ast.FunctionDef) for node in ast.walk(each)
    }
    return any(
        "get_metrics_context()" in ast.unparse(item.context_expr)
        for each in inside
        if isinstance(each, ast.With) and each not in nested
        for item in each.items
    )


class Lacking:
    """A module without one of its names."""

    def __init__(self, module, path):
        self._module = module
        self._path = path

    def __getattr__(self, attribute):
        first, _, rest = self._path.partition(".")
        if attribute != first:
            return getattr(self._module, attribute)
        if not rest:
            raise AttributeError(attribute)
        return Lacking(getattr(self._module, attribute), rest)


def test_each_name_is_registered_once_with_what_it_provides():
    assert len({each.name for each in private.REGISTER}) == len(private.REGISTER)
    assert all(each.lost for each in private.REGISTER)
