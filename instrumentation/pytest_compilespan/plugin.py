"""The hooks of pytest. Nothing of compilespan is imported before a test needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from pytest_compilespan.ledger import TestLedger
    from pytest_compilespan.session import SessionTable

MARKER = "compilespan"
_MARKER_HELP = (
    "compilespan(compiles=None, graph_breaks=None, recompiles=None, max_seconds=None): what torch "
    "compiles in this test: exactly so many of each, in at most so many seconds"
)
_TABLE: pytest.StashKey[SessionTable] = pytest.StashKey()
_LEDGER: pytest.StashKey[TestLedger] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    group = parser.getgroup("compilespan", "what torch.compile compiles in tests")
    group.addoption(
        "--compilespan",
        action="store_true",
        help="Print a table of what each test compiled, slowest first.",
    )
    group.addoption(
        "--compilespan-max-seconds",
        type=float,
        metavar="S",
        help="Fail the session if all tests together compile for longer.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and the table if it is asked for."""
    config.addinivalue_line("markers", _MARKER_HELP)
    limit_s = config.getoption("--compilespan-max-seconds")
    if config.getoption("--compilespan") or limit_s is not None:
        from pytest_compilespan.session import SessionTable  # noqa: PLC0415

        table = SessionTable(limit_s, is_shown=bool(config.getoption("--compilespan")))
        config.stash[_TABLE] = table
        config.pluginmanager.register(table, "compilespan-table")


@pytest.fixture
def compile_ledger(request: pytest.FixtureRequest) -> TestLedger:
    """What torch compiles in this test: ``records``, ``totals`` and ``expect``."""
    found: TestLedger | None = request.node.stash.get(_LEDGER, None)
    if found is None:  # a fixture of a wider scope asks before the test runs
        found = _begin(request.node)
    return found


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    """Begin to record before the fixtures of the test are set up, if it needs that."""
    is_asked = item.get_closest_marker(MARKER) is not None or _TABLE in item.config.stash
    if is_asked or "compile_ledger" in getattr(item, "fixturenames", ()):
        _begin(item)
    return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Check the marker's expectation over the test itself, if the test has passed."""
    ledger = item.stash.get(_LEDGER, None)
    markers = list(item.iter_markers(MARKER))
    if ledger is None or not markers:
        return (yield)
    __tracebackhide__ = True
    expected: dict[str, Any] = {}
    for marker in reversed(markers):  # the nearest one decides
        expected |= marker.kwargs
    try:
        block = ledger.expect(*markers[0].args, **expected)
    except TypeError as error:
        pytest.fail(f"@pytest.mark.{MARKER}: {error}", pytrace=False)
    with block:
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    """Attach what the test compiled to its report; under xdist it travels with it."""
    ledger = item.stash.get(_LEDGER, None)
    if ledger is not None and _TABLE in item.config.stash:
        item.user_properties.append(("compilespan", ledger.sums()))
    try:
        return (yield)
    finally:
        if ledger is not None:
            del item.stash[_LEDGER]
            ledger.close()


def _begin(item: pytest.Item) -> TestLedger:
    from pytest_compilespan.ledger import TestLedger  # noqa: PLC0415

    if _LEDGER not in item.stash:
        item.stash[_LEDGER] = TestLedger()
    return item.stash[_LEDGER]
