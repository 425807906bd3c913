"""What an operator's factory may get wrong, and what he is told."""

from __future__ import annotations

import pytest

from compilespan import WarmupTarget
from compilespan_service.warmups.targets import TargetsError, find_factory, make_targets


def target(name):
    return WarmupTarget(name, run=lambda _: None, shapes=[{}])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nonsense", "write MODULE:FACTORY"),
        (":targets", "write MODULE:FACTORY"),
        ("no_such_module:targets", "module 'no_such_module' cannot be imported"),
        ("json:targets", "module 'json' has no function 'targets'"),
        ("json:__name__", "has no function '__name__'"),
    ],
)
def test_a_factory_that_cannot_be_found(spec, message):
    with pytest.raises(TargetsError, match=message):
        find_factory(spec)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "returned None; it must return a list of targets"),
        ("abc", "returned 'abc'"),
        ([5], "returned a int; each element must be a WarmupTarget or an HttpTarget"),
        ([target("a"), target("a")], "two targets are called 'a'"),
    ],
)
def test_a_factory_that_returns_something_else(returned, message):
    with pytest.raises(TargetsError, match=message):
        make_targets(lambda: returned)


def test_what_a_factory_may_return():
    assert [t.name for t in make_targets(lambda: (target("a"), target("b")))] == ["a", "b"]
    assert [t.name for t in make_targets(lambda: target("a"))] == ["a"]
    assert make_targets(list) == []


def test_a_module_of_the_current_directory_is_found(tmp_path, monkeypatch):
    (tmp_path / "lies_here.py").write_text("def targets():\n    return []\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/nowhere"])
    assert make_targets(find_factory("lies_here:targets")) == []
