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
def test_the_library_does_not_know_the_service_and_few_files_know_the_sdk(path):
    """The base install has no SDK; these three are imported when the program has imported it."""
    names = imported(path)
    assert not {name for name in names if name.startswith("compilespan_service")}
    if path.parent.name != "sdk" and path.name not in ("ids.py", "sampler.py", "existing.py"):
        assert not {name for name in names if name.startswith("opentelemetry.sdk")}


# The rooms, floor by floor from the ground: a room imports from floors below only.
FLOORS = {
    "compilespan": [
        ["semconv", "process"],
        ["components", "ledger"],
        ["telemetry", "findings"],
        ["monitor", "journal"],
        ["dynamo", "sdk"],
        ["cache"],
        ["instrumentor", "warmup"],
        ["servers", "__init__"],
        ["bootstrap"],
    ],
    "compilespan_service": [
        ["schemas", "state", "signals", "demo", "capture"],
        ["reporters"],
        ["door", "reading"],
        ["warmups"],
        ["settings", "routes"],
        ["app"],
        ["cli", "ray", "vllm", "__init__"],
    ],
}
FILES = {"compilespan": LIBRARY, "compilespan_service": SERVICE}
FLOOR = {
    house: {room: number for number, rooms in enumerate(floors) for room in rooms}
    for house, floors in FLOORS.items()
}
ROOMS = [(house, room) for house in FLOORS for room in FLOOR[house]]


def rooms_imported(path, house):
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
            if package == house:
                room = rest.partition(".")[0]
                found.add(room if room in FLOOR[house] else "__init__")
    return found


def room_of(path, house):
    parts = path.parts
    return parts[parts.index(house, len(ROOT.parts)) + 1].removesuffix(".py")


@pytest.mark.parametrize("house", FLOORS)
def test_the_plan_has_every_room_and_no_more_than_sixteen(house):
    assert {room_of(path, house) for path in FILES[house]} == set(FLOOR[house])
    assert len(FLOOR[house]) <= 16


@pytest.mark.parametrize(("house", "room"), ROOMS)
def test_every_arrow_goes_down(house, room):
    files = [path for path in FILES[house] if room_of(path, house) == room]
    imports = {each for path in files for each in rooms_imported(path, house)} - {room}
    assert {each for each in imports if FLOOR[house][each] >= FLOOR[house][room]} == set()
