"""A failed expectation in words: what compiled, where, why, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compilespan.findings.finders import findings
from compilespan.findings.finding import Evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compilespan import CompileRecord

_MOST = 20


def explained(wrong: Sequence[str], records: Sequence[CompileRecord]) -> str:
    """Return the text of a failure.

    Args:
        wrong: What was expected, and what happened instead; one line each.
        records: All that was compiled.
    """
    lines = [*wrong, "", "compiled:" if records else "nothing was compiled"]
    for each in records[:_MOST]:
        lines.append(f"  {each.name}{_place(each.file, each.line)}: {_what(each)}")
        if each.recompile_reason:
            lines.append(f"    because {each.recompile_reason}")
        lines += [
            f"    graph break{_place(graph_break.file, graph_break.line)}: {graph_break.reason}"
            for graph_break in each.graph_breaks
        ]
    if len(records) > _MOST:
        lines.append(f"  and {len(records) - _MOST} more")
    for finding in findings(Evidence(records)):
        place = _place(finding.file, finding.line)
        lines += ["", f"{finding.code} {finding.what}{place}", f"  fix: {finding.fix}"]
        if finding.link:
            lines.append(f"  {finding.link}")
    return "\n".join(lines)


def _what(record: CompileRecord) -> str:
    is_backward = record.trigger == "lazy_backward"
    words: list[str] = ["recompile" if record.is_recompile else record.kind]
    words += ["of the backward"] if is_backward else []
    words += [record.outcome] if record.outcome != "ok" else []
    words += [f"cache {record.cache_result}"] if record.cache_result else []
    return f"{', '.join(words)}, {record.duration_s:.2f} s"


def _place(file: str | None, line: int | None) -> str:
    return f" ({file}:{line})" if file else ""
