"""A run in the terminal: what it was made of, what it compiled, what cost the most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from compilespan.semconv import MAX_NAMES, OTHER
from compilespan_service.capture.dumps import HINT
from compilespan_service.reporters.characters import flowing, listed, printable, say, text_width
from compilespan_service.reporters.findings import print_findings
from compilespan_service.reporters.tables import name_table, print_table
from compilespan_service.reporters.words import (
    STAGE_WORDS,
    START_WORDS,
    cache_line,
    duration,
    stage_line,
    start_line,
)

if TYPE_CHECKING:
    from rich.console import Console

    from compilespan_service.capture.capture import Capture, Interrupted

_MAX_IDS = 6
_MAX_PATHS = 2000


def report(capture: Capture, console: Console, rest: str) -> None:
    """Print a run.

    Args:
        capture: The run.
        console: Where to print.
        rest: How to get the findings that are not printed.
    """
    dumps = {(dump.pid, dump.compile_id): dump.path for dump in capture.dumps}
    if capture.is_empty:
        if not capture.unknown:
            say(console, Text(_nothing(capture)))
    else:
        _print_costs(capture, console)
    print_findings(console, capture.findings, rest, dumps)
    if capture.left_out > 0:
        console.print(
            f"  {capture.left_out} earlier compiles are only in the table, not in findings"
        )
    _print_dumps(capture, console)
    for each in capture.interrupted:
        is_now = capture.exit_code is None and each.is_running
        mark = ("● ", "") if is_now else ("✕ ", "red")
        say(console, Text.assemble(mark, _now(each) if is_now else _cut_off(each)))
    for sentence in capture.unknown:
        say(console, Text.assemble(("! ", "yellow"), f"compilespan: {printable(sentence)}"))


def _print_costs(capture: Capture, console: Console) -> None:
    totals = capture.totals
    width = text_width(console)
    head = (
        "compilespan",
        _count(capture.processes, "process", "processes"),
        f"ran {duration(capture.wall_s)}, of that compiling {duration(totals.total.wall_s)}",
        START_WORDS[capture.cache],
    )
    text = Text(flowing(head, " · ", width))
    text.stylize("bold", 0, len(head[0]))
    say(console, text)
    say(console, Text(start_line(capture.start, width)))
    components = {record.name: record.component for record in capture.compiles}
    print_table(console, *name_table(totals, components, console.width))
    if OTHER in totals.by_name:
        say(console, Text(f"{OTHER}: all names after the first {MAX_NAMES}", style="dim"))
    if spent := stage_line(totals, width):
        say(console, Text(spent))
    if used := cache_line(totals.cache, width):
        say(console, Text(used))


def _print_dumps(capture: Capture, console: Console) -> None:
    """Print the pages or logs of the compiles of each name."""
    paths = {(dump.pid, dump.compile_id): dump.path for dump in capture.dumps}
    if not paths:
        return
    console.print()
    console.print(Text("What torch wrote about each compile (--tlparse)", style="bold"))
    by_name: dict[str, dict[str, str]] = {}
    for record in capture.compiles:
        for compile_id in record.compile_ids:
            if path := paths.get((record.pid, compile_id)):
                by_name.setdefault(record.name, {}).setdefault(f"{compile_id} {path}", path)
    for name, found in by_name.items():
        console.print(
            Text(f"  {printable(name)}: {printable(listed(found, _MAX_IDS), 2000)}"), soft_wrap=True
        )
    if all(path.endswith(".log") for path in paths.values()):
        console.print(Text(f"  {HINT}", style="dim"))


def _nothing(capture: Capture) -> str:
    if capture.saw_torch:
        return "compilespan: torch compiled nothing"
    return (
        "compilespan: saw no process import torch (Python's -I, -E and -S, and a cleared "
        "environment, prevent recording)"
    )


def _now(each: Interrupted) -> str:
    return f"{printable(each.name)} is compiling{_doing(each)} for {duration(each.elapsed_s)}"


def _doing(each: Interrupted) -> str:
    return f" ({STAGE_WORDS.get(each.stage, each.stage)})" if each.stage is not None else ""


def _cut_off(each: Interrupted) -> str:
    doing = _doing(each)
    through = f"{_count(each.graphs, 'graph', 'graphs')} done{_memory(each)}"
    when = "when the program ended" if each.is_running else f"when process {each.pid} died"
    name = printable(each.name)
    return f"{name} was still compiling{doing} {when}: for {duration(each.elapsed_s)}, {through}"


def _memory(each: Interrupted) -> str:
    if each.peak_bytes is None:
        return ""
    of = f" of {each.limit_bytes / 1e9:.1f}" if each.limit_bytes is not None else ""
    return f"; it and its children used {each.peak_bytes / 1e9:.1f}{of} GB of memory"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
