"""Pages that are generated are up to date; links between pages lead somewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


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
    assert used - internal == set(re.findall(r"COMPILESPAN_[A-Z_]*[A-Z]", page))


def anchors(page):
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page):
    for link in re.findall(r"\]\(([^):]+)\)", page.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_can_be_reached_from_the_readme():
    seen, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        seen.add(page)
        links = re.findall(r"\]\(([^):#]+\.md)", page.read_text("utf-8"))
        left += {(page.parent / link).resolve() for link in links} - seen
    assert {page for page in PAGES if page.parent != ROOT} <= seen


EXTERNAL = sorted(
    {
        link.rstrip(".,")
        for page in PAGES
        for link in re.findall(r"https://[^\s)>`'\"]+", page.read_text("utf-8"))
        if "github.com/compilespan/" not in link  # our own address is not public yet
        and ".example" not in link
    }
)


@pytest.mark.parametrize("link", EXTERNAL)
def test_external_links_lead_somewhere(link):
    try:
        answer = httpx.head(link, follow_redirects=True, timeout=10)
    except httpx.TransportError as error:
        pytest.skip(f"{link} cannot be reached from here: {error}")
    assert answer.status_code not in (404, 410), link
