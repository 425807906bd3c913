"""Recompiles, by what changed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from compilespan.findings.finding import Evidence, Finding, seconds, subject_of, times
from compilespan.findings.grouping import folded, grouped
from compilespan.ledger.reasons import ReasonClass, guard, reason_class

if TYPE_CHECKING:
    from collections.abc import Iterable

RECOMPILATION = (
    "https://docs.pytorch.org/docs/stable/user_guide/torch_compiler/compile/"
    "programming_model.recompilation.html"
)
UNKNOWN = "the guard is not known"
_SIZE = re.compile(
    r"tensor '(?P<name>.+)' size mismatch at index (?P<dim>\d+)\. "
    r"expected (?P<before>\d+), actual (?P<now>\d+)"
)
_SPECIAL_SIZES = ("0", "1")
_ATTRIBUTE = re.compile(r"(?:L\['\w+'\]|\w+)(?:\.\w+|\['\w+'\])+ == -?\d")
_NUMBER = re.compile(r"(?:L\['(?P<quoted>\w+)'\]|(?P<plain>\w+)) == -?\d")


class _Kind(NamedTuple):
    code: str
    because: str
    fix: str


_KINDS: dict[ReasonClass, _Kind] = {
    "size": _Kind(
        "CS010",
        "a size, stride or rank changed",
        "warm it up with each of these sizes, or make sure that they do not change",
    ),
    "value": _Kind(
        "CS011",
        "a value changed",
        "keep it the same from call to call, or warm it up with each value",
    ),
    "grad_mode": _Kind(
        "CS012",
        "the grad mode changed",
        "warm it up under the grad mode of serving: no_grad, inference_mode or neither",
    ),
    "num_threads": _Kind(
        "CS013",
        "the number of threads changed",
        "call torch.set_num_threads once, before the first compile; warm up in the thread that "
        "serves (WarmupTarget's executor)",
    ),
    "dtype": _Kind("CS014", "a dtype changed", "cast before the call, or warm up with each dtype"),
    "type": _Kind(
        "CS015",
        "a type, device or kind of tensor changed",
        "warm it up with the same arguments as serving",
    ),
    "global_state": _Kind(
        "CS016",
        "torch's global state changed",
        "warm it up under the autocast, deterministic and dtype settings of serving",
    ),
    "backend": _Kind(
        "CS017",
        "the backend or its options changed",
        "compile one function with one backend and one set of options",
    ),
    "other": _Kind("CS019", "a guard failed", "TORCH_LOGS=recompiles shows more about the guard"),
}
CODES: dict[ReasonClass, str] = {name: kind.code for name, kind in _KINDS.items()}
"""Codes of findings about recompiles, by ``torch.compile.recompile.reason_class``."""


def recompiles(evidence: Evidence) -> Iterable[Finding]:
    """Compiles of frames that the same owner had compiled before, by owner and guard.

    Recompiles while serving are another finding.
    """
    records = [
        record
        for record in evidence.records
        if record.is_recompile
        and record.outcome == "ok"
        and record.phase != "serving"
        and not record.recompile_limit_hit
    ]
    for group in grouped(
        records,
        lambda each: (each.name, each.file, each.line, folded(guard(each.recompile_reason or ""))),
    ):
        last = group[-1]
        reason = guard(last.recompile_reason or "")
        kind = _KINDS[reason_class(reason)]
        yield Finding(
            code=kind.code,
            what=f"{last.name} compiled again {times(len(group))}: {_because(reason, kind)}",
            seconds=seconds(group),
            count=len(group),
            **subject_of(last, group),
            evidence=reason or UNKNOWN,
            fix=fix_of(reason),
            link=RECOMPILATION,
        )


def _because(reason: str, kind: _Kind) -> str:
    if (size := _SIZE.match(reason)) is not None:
        return f"dimension {size['dim']} of `{size['name']}` changed"
    return kind.because


def fix_of(reason: str) -> str:
    """Return how to keep a guard from failing again; fixes without code changes come first."""
    kind = _KINDS[reason_class(reason)]
    if (size := _SIZE.match(reason)) is not None:
        if not {size["before"], size["now"]}.isdisjoint(_SPECIAL_SIZES):
            return "warm it up with this size, too: torch compiles sizes 0 and 1 separately"
        name, dim = size["name"], size["dim"]
        return (
            f'TORCH_COMPILE_DYNAMIC_SOURCES="{_source(name)}" in the environment, or '
            f"torch._dynamo.mark_dynamic({name}, {dim}) before the first call, or add the size to "
            "the target's shapes"
        )
    if kind.code == "CS011" and _ATTRIBUTE.match(reason):
        return (
            "torch._dynamo.config.allow_unspec_int_on_nn_module = True, if it is an integer of a "
            "module: it then compiles only once more; as a tensor, it does not compile again"
        )
    if kind.code == "CS011" and (number := _NUMBER.match(reason)):
        return f"pass `{number['quoted'] or number['plain']}` as a tensor; or {kind.fix}"
    return kind.fix


def _source(name: str) -> str:
    """Return Dynamo's name for the source of a tensor; guards omit the ``L['']``.

    >>> _source("ids"), _source("self.x"), _source("kwargs['ids']")
    ("L['ids']", "L['self'].x", "L['kwargs']['ids']")
    """
    if name.startswith(("L[", "G[")):
        return name
    return re.sub(r"^\w+", lambda first: f"L['{first[0]}']", name)
