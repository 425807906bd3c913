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
    assert len(path.read_text("utf-8").splitlines()) <= 260


@pytest.mark.parametrize("path", LIBRARY + SERVICE, ids=lambda path: path.name)
def test_nothing_imports_torch_when_it_is_imported(path):
    assert not {name for name in imported(path) if name.partition(".")[0] in ("torch", "vllm")}


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.name)
def test_the_library_does_not_know_the_service_and_only_sdk_and_ids_know_the_sdk(path):
    names = imported(path)
    assert not {name for name in names if name.startswith("compilespan_service")}
    if path.parent.name != "sdk" and path.name != "ids.py":
        assert not {name for name in names if name.startswith("opentelemetry.sdk")}


# The rooms of the library, floor by floor from the ground: a room imports from floors below only.
FLOORS = [
    ["semconv", "faults", "process", "reasons"],
    ["components", "ledger"],
    ["telemetry"],
    ["monitor", "journal"],
    ["dynamo", "sdk"],
    ["instrumentor", "warmup"],
    ["vllm", "__init__"],
    ["bootstrap"],
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
BASE = ROOT / "instrumentation/compilespan"


def rooms_imported(path):
    """Return the rooms that a file imports from, wherever the import stands: types count, too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            package, _, rest = f"{name}.".partition(".")
            if package == "compilespan":
                room = rest.partition(".")[0]
                found.add(room if room in FLOOR else "__init__")
    return found


def room_of(path):
    part = path.relative_to(BASE).parts[0]
    return part.removesuffix(".py")


def test_the_plan_has_every_room_of_the_library_and_no_more_than_sixteen():
    assert {room_of(path) for path in LIBRARY} == set(FLOOR)
    assert len(FLOOR) <= 16


@pytest.mark.parametrize("room", FLOOR)
def test_every_arrow_of_the_library_goes_down(room):
    files = [path for path in LIBRARY if room_of(path) == room]
    imports = {each for path in files for each in rooms_imported(path)} - {room}
    assert {each for each in imports if FLOOR[each] >= FLOOR[room]} == set()
