"""Dynamo's guard texts in words: what changed, so that it compiled again, and what helps."""

from __future__ import annotations

import re

# First match counts. The texts are Dynamo's own (torch/_dynamo/guards.py and its C++ guards).
_CLASSES = (
    ("grad_mode", r"GLOBAL_STATE changed:.*grad_mode|is_grad_enabled"),
    ("num_threads", r"GLOBAL_STATE changed:.*num_threads"),
    ("global_state", r"GLOBAL_STATE|torch_function|deterministic|autocast|default_dtype"),
    ("dtype", r"dtype mismatch|\.dtype"),
    (
        "size",
        r"size mismatch|stride mismatch|rank mismatch|\.size\(|\.shape|stride\(|<= |Ne\(|Eq\(",
    ),
    ("type", r"type_id|type mismatch|expected type|TYPE_MATCH|dispatch key set mismatch"),
)


def reason_class(reason: str) -> str:
    """Return ``size``, ``dtype``, ``grad_mode``, ``num_threads``, ``global_state``, ``type``.

    ``other`` is what none of them describes.
    """
    for name, pattern in _CLASSES:
        if re.search(pattern, reason):
            return name
    return "other"


_HELPS = {
    "grad_mode": "warm it up under the grad mode of serving (no_grad, inference_mode or neither)",
    "num_threads": "warm it up with the thread count of serving, in the thread that serves "
    "(WarmupTarget's executor)",
    "global_state": "warm it up under the autocast, deterministic and dtype settings of serving",
    "dtype": "add a shape for this dtype, or cast before the call",
    "size": "add this size to the target's shapes, or mark the dimension dynamic",
    "type": "call it with the types of serving",
}


def advice(reason: str) -> str:
    """Return a guard's text with what an operator can do about it.

    >>> print(advice("0/0: tensor 'x' dtype mismatch"))
    dtype: tensor 'x' dtype mismatch; add a shape for this dtype, or cast before the call
    """
    text = re.sub(r"^\d+/\d+: ", "", reason).split("  #")[0]
    helps = _HELPS.get(reason_class(reason))
    return f"{reason_class(reason)}: {text}" + (f"; {helps}" if helps else "")
