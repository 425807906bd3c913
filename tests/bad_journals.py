"""Files that a state directory may hold and no process of ours wrote, or not as they are now."""

from __future__ import annotations

import json
import os

from support import record

HEADER = {
    "type": "process",
    "format": 1,
    "instance": "bad",
    "pid": 4194303,
    "started_ns": 10**18,
    "versions": {"python": "3.11"},
    "is_locked": True,
}
RECORD = record(name="from a bad file", start_ns=10**18).to_json()
BEGIN = {"type": "begin", "key": 7, "name": "m", "component": "other", "start_ns": 10**18}
_ROW = {"sums": {"compiles": 1}, "longest_ns": 1, "wall_ns": [1, 2]}
SUMMARY = {
    "process": HEADER,
    "totals": dict.fromkeys(("encoder", "language_model", "other"), _ROW),
    "ready_after_s": None,
    "marks": [],
    "exit_reason": None,
    "interrupted": [],
}
STARTUP = {"trace_id": "0" * 31 + "1", "span_id": "0" * 15 + "1", "parent_id": None}
WRONG = {
    str: [5, None, [], "a lone \\ud800"],
    int: ["5", -1, 1.5, None, 10**30, True],
    bool: [5, "yes", None],
    list: [5, "abc", None, {"a": 1}],
    dict: [5, [1], "abc"],
}


def line(values):
    # A lone surrogate is escaped in the text, as json.dumps writes it.
    return json.dumps(values).replace("\\\\ud800", "\\ud800").encode()


def with_lines(*values, instance):
    header = {**HEADER, "instance": instance}
    return b"".join(line(each) + b"\n" for each in (header, *values))


def contents(instance):
    """Return the contents of files, by what is wrong with them."""
    header = {**HEADER, "instance": instance}
    found = {
        "nothing": b"",
        "no JSON": b"dataset,with,columns\n1,2,3\n",
        "binary": bytes(range(256)) * 50,
        "no end": line(header)[:30],
        "no header": line({"type": "end", "key": 1, "record": RECORD}) + b"\n",
        "only a type and a format": b'{"type":"process","format":1}\n',
        "a later format": line({**header, "format": 2}) + b"\n" + line(BEGIN) + b"\n",
        "a format that is none": line({**header, "format": "1"}) + b"\n",
        "lists": b"[[[[1]]]]\n" * 10,
        "deep": b"[" * 100_000 + b"\n",
        "deep below a header": with_lines(instance=instance) + b'{"type":' + b"[" * 100_000 + b"\n",
        "a line without an end": with_lines(instance=instance) + b'{"type":"' + b"x" * 5_000_000,
        "an endless number": with_lines(instance=instance)
        + b'{"type":"exit","reason":'
        + b"9" * 9999
        + b"}\n",
        "not a number": with_lines(instance=instance)
        + b'{"type":"ready","time_ns":1,"after_s":NaN}\n'
        + b'{"type":"ready","time_ns":1,"after_s":Infinity}\n'
        + b'{"type":"ready","time_ns":1,"after_s":-1}\n',
        "seconds beyond all bounds": with_lines(
            {"type": "ready", "time_ns": 1, "after_s": int("9" * 400)},
            {"type": "mark", "part": "load", "start_ns": 10**300, "end_ns": 1, "thread_id": 1},
            {"type": "job", "id": "1", "state": "failed", "elapsed_s": 10**300},
            instance=instance,
        ),
        "states of jobs that are none": with_lines(
            *({"type": "job", "id": "1", "state": f"s{n}", "elapsed_s": 1} for n in range(200)),
            instance=instance,
        ),
        "a first line that never ends": b"\0" * 5_000_000,
        "no line at all": b"\0" * 100,
        "a header twice": with_lines(
            {**header, "pid": "x"}, {**header, "pid": 1}, instance=instance
        ),
        "types that are none": with_lines(
            {"type": []}, {"type": None}, {"a": 1}, instance=instance
        ),
        "a record without fields": with_lines(
            {"type": "end", "key": 1, "record": {}}, instance=instance
        ),
        "a record that contradicts itself": with_lines(
            {"type": "end", "key": 1, "record": {**RECORD, "is_encoder": True}}, instance=instance
        ),
        "an event that is none": with_lines(
            {"type": "end", "key": 1, "record": {**RECORD, "events": [{"name": 5}]}},
            {"type": "end", "key": 1, "record": {**RECORD, "graph_breaks": [[]]}},
            instance=instance,
        ),
        "a sum beyond 63 bits": with_lines(
            {"type": "end", "key": 1, "record": {**RECORD, "duration_ns": 2**63 - 1}},
            instance=instance,
        ),
        "a process id beyond 31 bits": line({**header, "pid": 2**40, "is_locked": None}) + b"\n",
        "progress of nothing": with_lines(
            {"type": "progress", "key": 99, "graphs": 1}, instance=instance
        ),
        "a start without ids": with_lines(
            {"type": "startup", "trace_id": "x", "span_id": 5, "parent_id": []}, instance=instance
        ),
        "a job that is none": with_lines(
            {"type": "job"},
            {"type": "job", "id": 5, "state": [], "elapsed_s": "long"},
            {"type": "dropped", "signal": [], "count": "many"},
            {"type": "mark", "part": "lunch", "start_ns": 1, "end_ns": 2, "thread_id": 1},
            {"type": "mark", "part": 5, "start_ns": "x", "end_ns": {}, "name": [], "thread_id": 0},
            {"type": "memory", "peak_bytes": -1, "limit_bytes": "all"},
            {"type": "exit", "reason": {"a": 1}},
            instance=instance,
        ),
    }
    for field, value in header.items():
        for number, wrong in enumerate(WRONG.get(type(value), [])[:2]):
            if field != "type":
                found[f"header: {field} {number}"] = line({**header, field: wrong}) + b"\n"
    for field, value in RECORD.items():
        wrong = WRONG.get(type(value), [[5]])[0]
        bad = {"type": "end", "key": 1, "record": {**RECORD, field: wrong}}
        found[f"record: {field}"] = with_lines(bad, instance=instance)
    for field, value in BEGIN.items():
        if field != "type":
            bad = {**BEGIN, field: WRONG[type(value)][-1]}
            found[f"begin: {field}"] = with_lines(bad, instance=instance)
    for field, value in SUMMARY.items():
        wrong = WRONG.get(type(value), [[5]])[0]
        bad = {"type": "summary", **SUMMARY, field: wrong}
        found[f"summary: {field}"] = with_lines(bad, instance=instance)
    return found


def write(directory, instance):
    """Write them all, and what is no regular file; return how many."""
    files = contents(instance)
    for number, content in enumerate(files.values()):
        (directory / f"20200101T{number:06}-{instance}-{number}.jsonl").write_bytes(content)
    os.mkfifo(directory / f"20200102T000000-{instance}-1.jsonl")
    (directory / f"20200102T000001-{instance}-2.jsonl").mkdir()
    (directory / f"20200102T000002-{instance}-3.jsonl").symlink_to("/dev/zero")
    (directory / f"20200102T000003-{instance}-4.jsonl").symlink_to(directory / "nowhere")
    return len(files) + 4
