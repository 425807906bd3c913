"""One sentence names the extra to install, whichever module is missing."""

from __future__ import annotations

import importlib
import sys

import pytest

import compilespan_service
from compilespan_service import cli


@pytest.fixture
def hidden(monkeypatch):
    """Hide modules, as if they were not installed."""

    def hide(*names):
        monkeypatch.setattr(cli, "_is_installed", lambda name: name not in names)

    return hide


@pytest.mark.parametrize("extra", ["cli", "service"])
def test_the_sentence_names_what_is_missing_and_the_extra(hidden, extra):
    for module in cli._NEEDED[extra]:
        hidden(module)
        with pytest.raises(SystemExit) as ended:
            cli.require(extra)
        said = ended.value.code
        assert f"needs {module}, which is not installed" in said
        assert said.endswith(f"pip install 'compilespan[{extra}]'")
        assert "\n" not in said


def test_nothing_is_said_if_all_is_installed():
    cli.require("cli")
    cli.require("service")


def test_a_missing_package_above_a_module_is_missing_too():
    assert not cli._is_installed("no_such_package.module")
    assert cli._is_installed("opentelemetry.sdk")


@pytest.mark.parametrize("name", ["create_app", "warmup_router", "HttpTarget", "Settings"])
def test_an_import_names_the_extra_of_the_service(monkeypatch, name):
    def fails(module):
        raise ImportError(f"No module named 'x', needed by {module}")

    monkeypatch.setattr(importlib, "import_module", fails)
    with pytest.raises(ImportError, match=r"pip install 'compilespan\[service\]'") as caught:
        getattr(compilespan_service, name)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert name in str(caught.value)
    assert sys.modules["compilespan_service"] is compilespan_service
