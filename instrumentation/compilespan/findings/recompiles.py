"""What compiled again, by what had changed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from compilespan.findings.finding import Evidence, Finding, seconds, times
from compilespan.findings.grouping import folded, grouped
from compilespan.ledger.reasons import ReasonClass, guard, reason_class

if TYPE_CHECKING:
    from collections.abc import Iterable

_DYNAMIC = "https://docs.pytorch.org/docs/stable/torch.compiler_dynamic_shapes.html"
_SIZE = re.compile(r"tensor '(?P<name>.+)' size mismatch at index (?P<dim>\d+)")
_ATTRIBUTE = re.compile(r"(?:L\['\w+'\]|\w+)\.[\w.]+ == \d")
_ARGUMENT = re.compile(r"(?:L\['(?P<quoted>\w+)'\]|(?P<plain>\w+)) == ")


class _Kind(NamedTuple):
    code: str
    because: str
    fix: str
    link: str = ""


_KINDS: dict[ReasonClass, _Kind] = {
    "size": _Kind(
        "CS010",
        "a size changed",
        "mark the dimension dynamic (torch._dynamo.mark_dynamic), or add the size to the target's "
        "shapes",
        _DYNAMIC,
    ),
    "value": _Kind(
        "CS011",
        "a value changed",
        "pass the value as a tensor, keep it constant, or warm it up with each value",
        _DYNAMIC,
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
    "type": _Kind("CS015", "a type changed", "call it with the types of serving"),
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
    "other": _Kind("CS019", "a guard failed", "TORCH_LOGS=recompiles says more about the guard"),
}


def recompiles(evidence: Evidence) -> Iterable[Finding]:
    """Compiles of a frame that its owner had compiled before, by owner and folded guard."""
    records = [
        record
        for record in evidence.records
        if record.is_recompile and record.outcome != "failed" and not record.recompile_limit_hit
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
            name=last.name,
            file=last.file,
            line=last.line or 0,
            evidence=reason,
            fix=_fix(reason, kind),
            link=kind.link,
        )


def _because(reason: str, kind: _Kind) -> str:
    if (size := _SIZE.match(reason)) is not None:
        return f"dimension {size['dim']} of `{size['name']}` changed"
    return kind.because


def fix_of(reason: str) -> str:
    """Return what to do so that a guard does not fail again; first what changes no code."""
    return _fix(reason, _KINDS[reason_class(reason)])


def _fix(reason: str, kind: _Kind) -> str:
    if (size := _SIZE.match(reason)) is not None:
        name, dim = size["name"], size["dim"]
        source = f"L['{name}']" if name.isidentifier() else name
        return (
            f'TORCH_COMPILE_DYNAMIC_SOURCES="{source}" in the environment, or '
            f"torch._dynamo.mark_dynamic({name}, {dim}) before the first call, or the size among "
            "the target's shapes"
        )
    if kind.code == "CS011" and _ATTRIBUTE.match(reason):
        return (
            "torch._dynamo.config.allow_unspec_int_on_nn_module = True, if it is an integer of a "
            "module: it compiles once more, and then no more; as a tensor it needs no more at all"
        )
    if kind.code == "CS011" and (argument := _ARGUMENT.match(reason)):
        name = argument["quoted"] or argument["plain"]
        return f"torch.compile(dynamic=True), if `{name}` is a number; else {kind.fix}"
    return kind.fix
