"""``compilespan explain``: the page of a code."""

from __future__ import annotations

import pytest

from compilespan.findings.explained import codes
from compilespan.semconv import __version__
from compilespan_service.cli.commands import app
from support import cli_runner


@pytest.mark.parametrize("code", ["CS010", "cs010"])
def test_a_page_is_printed(code):
    done = cli_runner().invoke(app, ["explain", code])
    assert done.exit_code == 0
    assert done.stdout.startswith("# CS010: ")


def test_another_name_is_refused_with_all_codes():
    done = cli_runner().invoke(app, ["explain", "CS999"])
    assert done.exit_code == 2
    assert all(code in done.stderr for code in codes())


def test_the_version_is_told():
    assert cli_runner().invoke(app, ["--version"]).stdout == f"compilespan {__version__}\n"
