"""Dynamo's guard texts in words: what changed, so that it compiled again."""

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
