"""Parse and check the lines of a journal: files come from other processes.

A state directory is shared, so its files may hold anything. A line that the writer cannot have
written is refused as a whole, so that other modules can rely on types, ranges and texts.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, get_args

from compilespan import semconv

FORMAT = 1
MAX_LINE_BYTES = 4 * 1024 * 1024
_MAX_NS = 2**62
"""A start plus a duration then still fits into 63 bits."""
_MAX_S = _MAX_NS / 1e9
_MAX_PID = 2**31 - 1
_MAX_ITEMS = 4096

Check = Callable[[Any], bool]


class LineError(ValueError):
    """A line that the writer cannot have written."""


class FormatError(LineError):
    """A journal has another format: none of it is read."""


def parsed(line: bytes) -> tuple[str, dict[str, Any]]:
    """Return the type of a line and its checked values; unknown values are kept unchecked.

    Raises:
        LineError: The line is not valid JSON, or a value has a wrong type or range.
        FormatError: It is the first line of a journal of another format.
    """
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        msg = f"not valid JSON: {error}"
        raise LineError(msg) from error
    if not isinstance(values, dict) or not isinstance(values.get("type"), str):
        msg = "not an object with a type"
        raise LineError(msg)
    line_type = values.pop("type")
    if line_type == "process" and values.get("format") != FORMAT:
        msg = f"unknown format {values.get('format')!r}"
        raise FormatError(msg)
    _check(line_type, values, _LINES.get(line_type, {}))
    return line_type, values


def _check(what: str, values: Mapping[str, Any], checks: Mapping[str, Check]) -> None:
    for name, check in checks.items():
        if not check(values.get(name)):
            msg = f"{what}: {name} is {str(values.get(name))[:80]!r}"
            raise LineError(msg)


def _text(value: Any) -> bool:
    return isinstance(value, str) and semconv.text(value, len(value)) == value


def _bounded_text(limit: int) -> Check:
    return lambda value: _text(value) and len(value) <= limit


_name = _bounded_text(semconv.MAX_NAME_LENGTH)
_reason = _bounded_text(semconv.MAX_REASON_LENGTH)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MAX_NS


def _seconds(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= _MAX_S


def _hex(digits: int) -> Check:
    pattern = re.compile(f"[0-9a-f]{{{digits}}}")
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _optional(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _one_of(literal: Any) -> Check:
    allowed = get_args(literal)
    return lambda value: isinstance(value, str) and value in allowed


def _list_of(check: Check) -> Check:
    return lambda value: (
        isinstance(value, list) and len(value) <= _MAX_ITEMS and all(map(check, value))
    )


def _mapping_of(check: Check) -> Check:
    return lambda value: (
        isinstance(value, dict)
        and len(value) <= _MAX_ITEMS
        and all(_name(key) and check(each) for key, each in value.items())
    )


def _object(checks: Mapping[str, Check]) -> Check:
    return lambda value: (
        isinstance(value, dict) and all(check(value.get(name)) for name, check in checks.items())
    )


def _scalar(value: Any) -> bool:
    if isinstance(value, str):
        return _reason(value)
    return isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value))


def _attribute(value: Any) -> bool:
    return _scalar(value) or _list_of(_scalar)(value)


def _stages(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _stage(stage) and _seconds(seconds) for stage, seconds in value.items()
    )


def _intervals(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _part(part) and _list_of(_count)(times) for part, times in value.items()
    )


_part = _one_of(semconv.Part)
_component = _one_of(semconv.Component)
_stage = _one_of(semconv.Stage)
_EVENT = {"name": _name, "time_ns": _count, "attributes": _mapping_of(_attribute)}
_BREAK = {
    **dict.fromkeys(("reason", "file", "hint", "link", "inner_file"), _reason),
    **dict.fromkeys(("line", "inner_line"), _count),
}
_RECORD: Mapping[str, Check] = {
    "name": _name,
    "is_encoder": _flag,
    "kind": _one_of(semconv.Kind),
    "trigger": _one_of(semconv.Trigger),
    "phase": _one_of(semconv.Phase),
    "outcome": _one_of(semconv.Outcome),
    "error_type": _optional(_name),
    **dict.fromkeys(("start_ns", "duration_ns", "graphs", "pid", "thread_id"), _count),
    **dict.fromkeys(("cache_hits", "cache_misses", "cache_bypasses"), _count),
    "cache_result": _optional(_one_of(semconv.CacheResult)),
    **dict.fromkeys(("is_recompile", "recompile_limit_hit"), _flag),
    **dict.fromkeys(("recompile_reason", "skip_reason", "error_message"), _optional(_reason)),
    "file": _optional(_reason),
    "graph_breaks": _list_of(_object(_BREAK)),
    "compile_ids": _list_of(_name),
    "trace_id": lambda value: value == "" or _hex(32)(value),
    "span_id": lambda value: value == "" or _hex(16)(value),
    "component": _component,
    "events": _list_of(_object(_EVENT)),
    "request": _optional(_name),
    "line": _optional(_count),
    "stages": _optional(_stages),
    **dict.fromkeys(("cpu_s", "cpu_wait_s"), _optional(_seconds)),
    "cache_rebuilds": _optional(_count),
}
_PROCESS: Mapping[str, Check] = {
    "format": lambda value: value == FORMAT,
    "pid": lambda value: _count(value) and value <= _MAX_PID,
    "started_ns": _count,
    "instance": _name,
    "versions": _mapping_of(_name),
    **dict.fromkeys(("device", "rank", "host"), _optional(_name)),
    "started_ticks": _optional(_count),
    "is_locked": _optional(_flag),
}
_MARK: Mapping[str, Check] = {
    "part": _part,
    "start_ns": _count,
    "end_ns": _optional(_count),
    "name": _optional(_name),
    "thread_id": _count,
}
_BEGUN: Mapping[str, Check] = {
    "name": _name,
    "component": _component,
    "start_ns": _count,
    "elapsed_s": _seconds,
    "graphs": _count,
    "stage": _optional(_stage),
}
_ROW: Mapping[str, Check] = {
    "sums": _mapping_of(_count),
    "longest_ns": _count,
    "wall_ns": _list_of(_count),
    "intervals_ns": _optional(_intervals),
}
_MEMORY: Mapping[str, Check] = {"peak_bytes": _count, "limit_bytes": _optional(_count)}
_CACHE: Mapping[str, Check] = {
    **dict.fromkeys(("fetched_files", "fetched_bytes", "published_files"), _count),
    **dict.fromkeys(("fetched_graphs", "used_graphs", "quarantined"), _count),
    **dict.fromkeys(("saved_s", "fetch_s", "wait_s", "publish_s"), _seconds),
    "unused_graphs": _list_of(_name),
}
_LINES: Mapping[str, Mapping[str, Check]] = {
    "process": _PROCESS,
    "begin": {"key": _count, "name": _name, "component": _component, "start_ns": _count},
    "progress": {"key": _count, "graphs": _count, "stage": _optional(_stage)},
    "memory": _MEMORY,
    "end": {"key": _count, "record": _optional(_object(_RECORD))},
    "ready": {"time_ns": _count, "after_s": _seconds, "by_program": _optional(_flag)},
    "startup": {
        "trace_id": _optional(_hex(32)),
        **dict.fromkeys(("span_id", "parent_id"), _optional(_hex(16))),
    },
    "mark": _MARK,
    "cache": _CACHE,
    "job": {"id": _name, "state": _one_of(semconv.JobEnd), "elapsed_s": _seconds},
    "dropped": {"signal": _name, "count": _count},
    "exit": {"reason": _name},
    "summary": {
        "process": _object(_PROCESS),
        "totals": _object(dict.fromkeys(get_args(semconv.Component), _object(_ROW))),
        "ready_after_s": _optional(_seconds),
        "marks": _optional(_list_of(_object(_MARK))),
        "exit_reason": _optional(_name),
        "interrupted": _list_of(_object(_BEGUN)),
        "memory": _optional(_object(_MEMORY)),
        "serving_s": _optional(_seconds),
        "graph_keys": _optional(_list_of(_name)),
        "cache": _optional(_object(_CACHE)),
    },
}
