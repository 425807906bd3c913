"""The layout: small files, and imports that run one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARY = sorted((ROOT / "instrumentation/compilespan").rglob("*.py"))
SERVICE = sorted((ROOT / "service/compilespan_service").rglob("*.py"))


def imported(path):
    """Return the modules that a file imports when it is imported, type hints left out."""
    found = set()

    def visit(node):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                found.add(child.module)
            elif not isinstance(child, ast.FunctionDef) and not (
                isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            ):
                visit(child)

    visit(ast.parse(path.read_text("utf-8")))
    return found


@pytest.mark.parametrize("path", LIBRARY + SERVICE, ids=lambda path: path.name)
def test_a_file_holds_one_thing(path):
    assert len(path.read_text("utf-8").splitlines()) <= 275


@pytest.mark.parametrize("path", LIBRARY + SERVICE, ids=lambda path: path.name)
def test_nothing_imports_torch_when_it_is_imported(path):
    assert not {name for name in imported(path) if name.partition(".")[0] in ("torch", "vllm")}


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.name)
def test_the_library_does_not_know_the_service_and_only_sdk_and_ids_know_the_sdk(path):
    names = imported(path)
    assert not {name for name in names if name.startswith("compilespan_service")}
    if path.parent.name != "sdk" and path.name != "ids.py":
        assert not {name for name in names if name.startswith("opentelemetry.sdk")}


ORDER = ["semconv", "records", "totals", "ledger", "journal", "monitor", "dynamo", "instrumentor"]


@pytest.mark.parametrize("name", ORDER)
def test_imports_of_the_library_run_one_way(name):
    later = {f"compilespan.{each}" for each in ORDER[ORDER.index(name) + 1 :]}
    files = [p for p in LIBRARY if name in (p.stem, p.parent.name)]
    assert files
    for path in files:
        assert not {each for each in imported(path) if each in later}
