"""Options that several commands have."""

from __future__ import annotations

import os
import sys

import pytest
import typer

from compilespan_service.cli.commands import app
from compilespan_service.cli.options import use_cache


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in ("URL", "MODE", "UNSIGNED", "KEY_FILE"):
        monkeypatch.setenv(f"COMPILESPAN_CACHE_{name}", "")


def test_the_cache_is_put_where_all_processes_find_it(tmp_path):
    use_cache("serve", str(tmp_path), "read", unsigned=True)
    assert os.environ["COMPILESPAN_CACHE_URL"] == str(tmp_path)
    assert os.environ["COMPILESPAN_CACHE_MODE"] == "read"
    assert os.environ["COMPILESPAN_CACHE_UNSIGNED"] == "1"


def test_a_cache_that_cannot_be_used_is_one_sentence(capsys):
    with pytest.raises(typer.Exit) as ended:
        use_cache("run", "nothing://there", "readwrite", unsigned=False)
    assert ended.value.exit_code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("compilespan run: --cache-url nothing://there: ")


@pytest.mark.parametrize("command", [["serve"], ["run", sys.executable, "-V"]])
def test_both_commands_refuse_a_mode_that_is_none(command, capsys):
    name, *rest = command
    with pytest.raises(SystemExit) as ended:
        app([name, "--cache-url", "x", "--cache-mode", "append", *rest])
    assert ended.value.code == 2
    assert "'append' is not one of 'read', 'write', 'readwrite'" in " ".join(
        capsys.readouterr().err.replace("│", "").split()
    )
