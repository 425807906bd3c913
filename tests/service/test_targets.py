"""What an operator's factory may get wrong, and what he is told."""

from __future__ import annotations

import functools
import sys
import textwrap

import pytest

from compilespan import WarmupTarget
from compilespan_service.warmups.loader import find_factory, load_models
from compilespan_service.warmups.spec import LoadError, SpecError
from compilespan_service.warmups.targets import TargetsError, checked


def target(name="a", run=lambda _: None, shapes=({},), **options):
    return WarmupTarget(name, run, shapes, **options)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nonsense", "write MODULE:FACTORY"),
        (":targets", "write MODULE:FACTORY"),
        ("json:", "write MODULE:FACTORY"),
        ("json:loads:x", "write MODULE:FACTORY"),
        ("a b:targets", "write MODULE:FACTORY"),
        (".relative:targets", "write MODULE:FACTORY"),
        ("models.py:targets", "no module 'models', which 'models.py:targets' names"),
        ("no_such_module:targets", "no module 'no_such_module'"),
        ("no_such_package.models:targets", "no module 'no_such_package'"),
        ("json.no_such_module:targets", "no module 'json.no_such_module'"),
        ("json:targets", "module 'json' has no function 'targets'"),
        ("json:__name__", "has no function '__name__'"),
        ("json:loads.targets", "has no function 'loads.targets'"),
    ],
)
def test_a_factory_that_cannot_be_found(spec, message):
    with pytest.raises(SpecError, match=message):
        find_factory(spec)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return what writes a module that can be imported here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, source):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return f"{name}:targets"

    return write


def test_a_module_that_is_not_valid_python(module):
    spec = module("typo", "def targets(:\n    return []\n")
    with pytest.raises(SpecError, match="module 'typo' is not valid Python: line 1"):
        find_factory(spec)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_dependency", "ModuleNotFoundError: No module named 'no_such_dependency'"),
        ("import json\njson.no_such_name", "AttributeError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("compile('def (', 'elsewhere.py', 'exec')", "SyntaxError"),
    ],
)
def test_a_module_whose_own_import_fails_is_told_with_its_own_traceback(module, source, message):
    spec = module("broken", source)
    with pytest.raises(LoadError, match="module 'broken' fails when it is imported") as caught:
        find_factory(spec)
    assert not isinstance(caught.value, SpecError)
    assert message in str(caught.value)
    assert "broken.py" in caught.value.traceback
    assert "loader.py" not in caught.value.traceback
    assert "importlib" not in caught.value.traceback


def loaded(factory):
    known = []
    load_models(lambda: factory, known.extend)
    return known


class Wordless(Exception):
    def __str__(self):
        raise ValueError("no words")


@pytest.mark.parametrize(
    "error", [ValueError("mine"), SystemExit(1), KeyboardInterrupt(), GeneratorExit(), Wordless()]
)
def test_whatever_a_factory_or_a_load_raises_is_a_load_error(error):
    def fails():
        raise error

    with pytest.raises(LoadError, match=f"the factory raised {type(error).__name__}") as caught:
        loaded(fails)
    assert "in fails" in caught.value.traceback
    assert "loader.py" not in caught.value.traceback
    with pytest.raises(LoadError, match=f"target 'a' cannot be loaded: {type(error).__name__}"):
        loaded(lambda: [target(load=fails)])


def test_the_targets_are_known_before_their_weights_are_loaded():
    order = []

    async def load():
        order.append("loaded")

    load_models(lambda: lambda: [target(load=load)], lambda targets: order.append(len(targets)))
    assert order == [1, "loaded"]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "returned None; it must return a list of targets"),
        ("abc", "returned 'abc'"),
        (5, "returned 5; it must return a list"),
        ({"a": 1}, "it must return a list"),
        ([5], "returned a int; each element must be a WarmupTarget or an HttpTarget"),
        ([target("a"), target("a")], "two targets are called 'a'"),
    ],
)
def test_a_factory_that_returns_something_else(returned, message):
    with pytest.raises(TargetsError, match=message):
        checked(returned)


def generates(_):
    yield


async def generates_too(_):
    yield


class Generates:
    def __call__(self, _):
        yield


SHAPE = "target 'a': shapes is "


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": ""}, "a target is called ''"),
        ({"name": 5}, "a target is called 5"),
        ({"name": "two\nlines"}, "a name must be one line"),
        ({"name": "x" * 201}, "with 1 to 200 characters"),
        ({"name": "caf\udce9"}, "valid UTF-8"),
        ({"run": 5}, "run is 5; it must be a function"),
        ({"run": generates}, "run is a generator function"),
        ({"run": generates_too}, "run is a generator function"),
        ({"run": Generates()}, "run is a generator function"),
        ({"run": functools.partial(generates)}, "run is a generator function"),
        ({"load": lambda: (yield)}, "load is a generator function"),
        ({"load": Generates()}, "load is a generator function"),
        ({"shapes": [{"batch": 10**5000}]}, "finite numbers of 64 bits"),
        ({"shapes": [{"batch": -(2**63)}]}, "finite numbers of 64 bits"),
        ({"load": 5}, "load is 5; it must be a function"),
        ({"executor": 5}, "executor is 5; it must be a concurrent.futures.Executor"),
        ({"is_encoder": "yes"}, "is_encoder is 'yes'"),
        ({"timeout_s": "5"}, "timeout_s is '5'; give a positive number"),
        ({"timeout_s": -1}, "timeout_s is -1"),
        ({"timeout_s": 0}, "timeout_s is 0"),
        ({"timeout_s": True}, "timeout_s is True"),
        ({"timeout_s": float("nan")}, "timeout_s is nan"),
        ({"timeout_s": float("inf")}, "timeout_s is inf"),
        ({"timeout_s": 1e300}, "timeout_s is 1e"),
        ({"shapes": [{"a": n} for n in range(5000)]}, "5000 shapes; at most 4096 are allowed"),
        ({"shapes": None}, SHAPE + "None"),
        ({"shapes": []}, SHAPE),
        ({"shapes": "abc"}, SHAPE + "'abc'"),
        ({"shapes": {"batch": 1}}, SHAPE),
        ({"shapes": (each for each in [{}])}, SHAPE),
        ({"shapes": [(1, 16)]}, r"the shape \(1, 16\) is not a mapping"),
        ({"shapes": [None]}, "the shape None is not a mapping"),
        ({"shapes": [{"a": {"b": 1}}]}, "values must be text, finite numbers"),
        ({"shapes": [{"a": [1]}]}, "values must be text, finite numbers"),
        ({"shapes": [{"a": float("nan")}]}, "values must be text, finite numbers"),
        ({"shapes": [{"a": "caf\udce9"}]}, "values must be text, finite numbers"),
        ({"shapes": [{1: 2}]}, "has the key 1; keys must be text"),
        ({"shapes": [{"a": 1}, {"a": 1}]}, "two shapes are {'a': 1}; shapes must be unique"),
    ],
)
def test_a_target_that_cannot_be_what_it_says(options, message):
    with pytest.raises(TargetsError, match=message):
        checked([target(**options)])


def test_an_object_whose_repr_raises_is_named_by_its_class():
    class Mute:
        def __repr__(self):
            raise ValueError

    with pytest.raises(TargetsError, match="the factory returned a Mute"):
        checked(Mute())


def test_what_a_factory_may_return():
    assert [t.name for t in checked((target("a"), target("b")))] == ["a", "b"]
    assert [t.name for t in checked(target(name) for name in "ab")] == ["a", "b"]
    assert [t.name for t in checked(target("a", shapes=[{"n": 1}, {"n": 1.5}, {"n": True}]))]
    assert checked([]) == []


def test_a_module_of_the_current_directory_is_found(module, monkeypatch):
    spec = module("lies_here", "def targets():\n    return []\n")
    monkeypatch.setattr("sys.path", ["/nowhere"])
    assert find_factory(spec)() == []
