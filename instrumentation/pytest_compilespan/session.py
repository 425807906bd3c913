"""The table over a session, and its limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _pytest.terminal import TerminalReporter

_MOST = 20
_COLUMNS = ("compiles", "recompiles", "graph breaks", "cache hits", "seconds")


class SessionTable:
    """Collects from reports, which arrive here from the workers of xdist, too."""

    def __init__(self, limit_s: float | None, *, is_shown: bool) -> None:
        """Begin without tests.

        Args:
            limit_s: Seconds that all tests together may compile; ``None`` for any.
            is_shown: Whether the table is printed.
        """
        self._limit_s = limit_s
        self._is_shown = is_shown
        self._tests: dict[str, Mapping[str, float]] = {}

    @property
    def _spent_s(self) -> float:
        return sum(each["seconds"] for each in self._tests.values())

    @property
    def _is_exceeded(self) -> bool:
        return self._limit_s is not None and self._spent_s > self._limit_s

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take over what a test compiled."""
        if report.when == "teardown":
            for name, sums in report.user_properties:
                if name == "compilespan" and isinstance(sums, dict):
                    self._tests[report.nodeid] = sums

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a session that compiled for too long; workers of xdist leave that to the first."""
        if self._is_exceeded and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Print the table, slowest tests first."""
        write: Any = terminalreporter
        if self._is_shown:
            write.section("torch.compile")
            compiled = [(n, sums) for n, sums in self._tests.items() if sums["compiles"]]
            compiled.sort(key=lambda each: -each[1]["seconds"])
            if compiled:
                write.write_line("  ".join([*(f"{each:>12}" for each in _COLUMNS), "test"]))
            for name, sums in compiled[:_MOST]:
                write.write_line(_line(sums, name))
            if len(compiled) > _MOST:
                write.write_line(f"and {len(compiled) - _MOST} more tests that compile")
            total = {
                column: sum(sums[column] for _, sums in compiled)
                for column in ("compiles", "recompiles", "graph_breaks", "cache_hits", "seconds")
            }
            write.write_line(_line(total, f"all {len(self._tests)} tests"), bold=True)
        if self._is_exceeded:
            write.write_line(
                f"compilespan: the tests compiled for {self._spent_s:.1f} s, and "
                f"--compilespan-max-seconds is {self._limit_s:g}",
                red=True,
            )


def _line(sums: Mapping[str, float], name: str) -> str:
    cells = [
        *(f"{sums[column]:>12.0f}" for column in ("compiles", "recompiles")),
        *(f"{sums[column]:>12.0f}" for column in ("graph_breaks", "cache_hits")),
        f"{sums['seconds']:>12.2f}",
    ]
    return "  ".join([*cells, name])
