"""Pages that are generated are up to date; links between pages lead somewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize(
    "name", ["generate_telemetry", "generate_http", "generate_settings", "generate_runbook"]
)
def test_a_generated_page_is_up_to_date(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"docs/{name}.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.TARGET.read_text("utf-8") == generate.text(), f"run python docs/{name}.py"


def test_every_variable_is_on_the_page_of_settings():
    sources = [
        path.read_text("utf-8")
        for folder in ("instrumentation", "service")
        for path in (ROOT / folder).rglob("*.py")
    ]
    used = {name for text in sources for name in re.findall(r"COMPILESPAN_[A-Z_]*[A-Z]", text)}
    internal = {"COMPILESPAN_FIRST_PID"}  # set by the first process of vLLM, for its children
    page = (ROOT / "docs/settings.md").read_text("utf-8")
    assert used - internal == set(re.findall(r"COMPILESPAN_[A-Z_]*[A-Z]", page)) - {
        f"COMPILESPAN_{name}" for name in ("PROCESSES",)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
        assert (page.parent / link).exists(), link
