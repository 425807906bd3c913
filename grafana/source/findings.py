"""Findings that metrics can show: avoidable costs of a start."""

from __future__ import annotations

from compilespan.findings.recompiles import CODES
from grafana.source.fields import Json, wide
from grafana.source.metrics import COUNT, GRAPHS, LIMIT_HITS, REBUILDS, RECOMPILES
from grafana.source.panels import promql_now, table
from grafana.source.queries import FAILED, SERVICE, of_start


def findings() -> Json:
    """Return the table of findings."""
    return table(
        "What to look at",
        "Failures, recompiles, frames over the recompile limit, uncached graphs, and cached graphs "
        "whose code was built again, of this start. "
        "`compilespan explain CODE` explains a code; `GET /findings` has the seconds. "
        "`torch.compile.duration`, its count; `torch.compile.recompiles`; "
        "`torch.compile.recompile_limit_hits`; `torch.compile.graphs`; "
        "`torch.compile.cache.rebuilds`.",
        [promql_now(" or ".join((*_failures(), _recompiles(), *_others())))],
        unit="short",
        names={
            "what": "What",
            "torch_compile_name": "Name",
            "Value": "Times",
            "code": "Code",
        },
        overrides=[wide("Times", 80), wide("Code", 80)],
        sort_by="Times",
        no_value="Nothing to look at",
    )


def _failures() -> tuple[str, str]:
    def failed(kind: str, what: str, code: str) -> str:
        labels = f'{FAILED},torch_compile_kind{kind}"load"'
        times = f"sum by (torch_compile_name, error_type) ({of_start(COUNT, labels)}) > 0"
        return _called(f'label_replace({times}, "what", "{what}: $1", "error_type", "(.*)")', code)

    return failed("!=", "failed", "CS001"), failed("=", "could not be loaded", "CS002")


def _recompiles() -> str:
    reason = "torch_compile_recompile_reason_class"
    times = f"sum by (torch_compile_name, {reason}) ({of_start(RECOMPILES, SERVICE)}) > 0"
    called = f'label_replace({times}, "what", "compiled again: $1", "{reason}", "(.*)")'
    for value, code in CODES.items():
        called = f'label_replace({called}, "code", "{code}", "{reason}", "{value}")'
    return called


def _others() -> tuple[str, str, str]:
    limit = f"sum({of_start(LIMIT_HITS, SERVICE)}) > 0"
    bypassed = f'{SERVICE},torch_compile_cache_result="bypass"'
    stored = f"sum({of_start(GRAPHS, bypassed)}) > 0"
    rebuilt = f"sum({of_start(REBUILDS, SERVICE)}) > 0"
    return (
        _called(_what(limit, "over the recompile limit: runs eager until restart"), "CS003"),
        _called(_what(stored, "graphs compiled and not stored"), "CS030"),
        _called(_what(rebuilt, "graphs from the cache, code built again"), "CS035"),
    )


def _what(of: str, text: str) -> str:
    return f'label_replace({of}, "what", "{text}", "", "")'


def _called(of: str, code: str) -> str:
    return f'label_replace({of}, "code", "{code}", "", "")'
