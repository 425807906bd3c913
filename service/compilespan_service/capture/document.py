"""A capture as a JSON document, which `start.schema.json` describes.

Later versions may add fields; no field changes its meaning while the number in ``schema`` stays.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from compilespan import CompileRecord, CompileTotals
from compilespan.findings.finding import CompileRef, Finding
from compilespan.ledger.cache_use import CacheUse
from compilespan.ledger.rows import TotalsRow
from compilespan.ledger.segments import Segment
from compilespan_service.capture.capture import Capture, Dump, Interrupted, Parts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NAME = "urn:compilespan:schema:start:"
VERSION = 1
_ROWS = ("encoder", "language_model", "other", "total")
_ROWS_BY = ("by_phase", "by_name", "by_process")


class CaptureError(Exception):
    """The file is not a capture, or this version cannot read it; the message says why."""


def to_json(capture: Capture) -> dict[str, Any]:
    """Return a capture as JSON values."""
    return {
        "schema": f"{_NAME}{VERSION}",
        "command": list(capture.command),
        "host": dict(capture.host),
        "versions": dict(capture.versions),
        "began_ns": capture.began_ns,
        "wall_s": capture.wall_s,
        "exit_code": capture.exit_code,
        "processes": capture.processes,
        "saw_torch": capture.saw_torch,
        "cache": capture.cache,
        "totals": dataclasses.asdict(capture.totals),
        "start": dict(capture.start.parts_s),
        "compile": dict(capture.start.compile_s),
        "imports": dict(capture.start.imports_s),
        "beside": dict(capture.start.beside_s),
        "segments": [dataclasses.asdict(segment) for segment in capture.start.segments],
        "findings": [dataclasses.asdict(finding) for finding in capture.findings],
        "compiles": [
            {**record.to_json(), "duration_s": record.duration_s} for record in capture.compiles
        ],
        "left_out": capture.left_out,
        "interrupted": [dataclasses.asdict(each) for each in capture.interrupted],
        "unknown": list(capture.unknown),
        "dumps": [dataclasses.asdict(dump) for dump in capture.dumps],
    }


def text(capture: Capture) -> str:
    """Return the document of a capture."""
    return json.dumps(to_json(capture), indent=1) + "\n"


def read(path: Path) -> Capture:
    """Return the capture in a file.

    Raises:
        CaptureError: The file cannot be read, is not a capture, or is from a newer version.
    """
    try:
        # Editors on Windows start a file with a byte order mark.
        text = path.read_text("utf-8-sig")
        return from_json(json.loads(text, parse_constant=_no_number))
    except OSError as error:
        raise CaptureError(f"{path} cannot be read: {error.strerror or error}") from error
    except CaptureError as error:
        raise CaptureError(f"{path} {error}") from error
    except (ValueError, RecursionError) as error:
        raise CaptureError(f"{path} is not valid JSON: {error}") from error


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def from_json(document: Any) -> Capture:
    """Return the capture of a document; unknown fields are ignored.

    Raises:
        CaptureError: The document is not a capture, or is from a newer version.
    """
    name = document.get("schema") if isinstance(document, dict) else None
    version = str(name).removeprefix(_NAME)
    if not isinstance(name, str) or not name.startswith(_NAME) or not version.isdecimal():
        raise CaptureError("was not written by `compilespan run -o`: it names no schema of it")
    if int(version) > VERSION:
        raise CaptureError(
            f"is from a newer compilespan (schema {version}; this one reads {VERSION}): "
            "pip install --upgrade compilespan"
        )
    try:
        return _capture(document)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CaptureError(f"is damaged: {error!r}") from error


def _capture(document: Mapping[str, Any]) -> Capture:
    return Capture(
        command=[str(each) for each in document["command"]],
        began_ns=int(document["began_ns"]),
        wall_s=float(document["wall_s"]),
        exit_code=document["exit_code"],
        host=dict(document["host"]),
        versions=dict(document["versions"]),
        processes=int(document["processes"]),
        saw_torch=bool(document["saw_torch"]),
        totals=_totals(document["totals"]),
        start=Parts(
            document["start"],
            document["compile"],
            document["imports"],
            [Segment(**_known(Segment, each)) for each in document["segments"]],
            document["beside"],
        ),
        findings=[_finding(each) for each in document["findings"]],
        compiles=[CompileRecord.from_json(each) for each in document["compiles"]],
        left_out=int(document["left_out"]),
        interrupted=[Interrupted(**_known(Interrupted, each)) for each in document["interrupted"]],
        unknown=[str(each) for each in document["unknown"]],
        dumps=[Dump(**_known(Dump, each)) for each in document["dumps"]],
    )


def _totals(values: Mapping[str, Any]) -> CompileTotals:
    rows: dict[str, Any] = {row: _row(values[row]) for row in _ROWS}
    for by in _ROWS_BY:
        rows[by] = {key: _row(row) for key, row in values[by].items()}
    cache = CacheUse.of(values.get("cache", {}))
    return CompileTotals(**rows, by_stage=dict(values["by_stage"]), cache=cache)


def _row(values: Mapping[str, Any]) -> TotalsRow:
    row = TotalsRow(**_known(TotalsRow, values))
    if not all(isinstance(each, int | float) for each in dataclasses.astuple(row)):
        raise TypeError("a row of totals has values that are not numbers")
    return row


def _finding(values: Mapping[str, Any]) -> Finding:
    refs = tuple(CompileRef(**_known(CompileRef, each)) for each in values["compiles"])
    return Finding(**{**_known(Finding, values), "compiles": refs})


def _known(cls: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key in cls.__slots__}
