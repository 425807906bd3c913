"""Classes of Dynamo's guard texts: what changed and caused a recompile, and what helps.

The texts come from Dynamo (``torch/_dynamo/guards.py`` and its C++ guards). The user's source line,
a hint and a stack may follow the guard. They may contain anything, so only the guard itself is
classified.
"""

from __future__ import annotations

import re
from typing import Literal

ReasonClass = Literal[
    "size",
    "value",
    "dtype",
    "grad_mode",
    "num_threads",
    "global_state",
    "type",
    "backend",
    "other",
]

_MAX_GUARD = 1000
_MAX_ADVICE = 800  # with the text around it, this fits the 1,024 characters of a reason
# Key sets that differ only in these keys come from no_grad or inference_mode.
_GRAD_KEYS = (
    r"DispatchKeySet\((?P<before>[^)]*?)(?:, ADInplaceOrView)?(?:, Autograd\w+)?"
    r"(?P<after>[^)]*)\), actual "
    r"DispatchKeySet\((?P=before)(?:, ADInplaceOrView)?(?:, Autograd\w+)?(?P=after)\)"
)
# The first match counts; each pattern is matched at the beginning of the guard.
_PATTERNS: tuple[tuple[ReasonClass, str], ...] = (
    ("backend", r"BACKEND_MATCH failure"),
    ("grad_mode", r"GLOBAL_STATE changed: .*\bgrad_mode\b"),
    ("num_threads", r"GLOBAL_STATE changed: .*\bnum_threads\b"),
    (
        "global_state",
        (
            r"GLOBAL_STATE changed: |___check_global_state\(|___check_torch_function_mode_stack\("
            r"|utils_device\.CURRENT_DEVICE|torch\._functorch\."
            r"|torch\.autograd\.forward_ad\._current_level"
        ),
    ),
    ("dtype", r"tensor '.*' dtype mismatch\. expected"),
    ("size", r"tensor '.*' (?:size|stride|rank) mismatch"),
    ("grad_mode", rf"tensor '.*' dispatch key set mismatch\. expected {_GRAD_KEYS}"),
    ("global_state", r"tensor '.*' dispatch key set mismatch\. expected .*\bFuncTorch"),
    ("type", r"tensor '.*' (?:dispatch key set mismatch|Tensor device index mismatch)"),
    ("other", r"tensor '.*' requires_grad mismatch"),
    ("value", r".* == b?['\"].*['\"]$"),  # the compared text may contain anything
    (
        "type",
        (
            r"expected type of '|___check_type_id\(|___check_fake_script_type\(|TYPE_MISMATCH\("
            r"|.* is (?:not )?None$"
        ),
    ),
    ("size", r"_has_dynamo_dim_marking\b|_dynamo_\w+_indices\b"),
    (
        "other",
        (
            r"Duplicate tensors? found|check_overlapping\(|Cache line invalidated"
            r"|Unexpected recompilation|Unable to find|___check_(?:metadata|opaque_guard_fn)_"
            r"|__dtensor_spec_|(?!not )[^(]+ is (?!not )[^=]+$"  # the last: aliasing
        ),
    ),
    ("size", r".*\.(?:size|stride|storage_offset)\(\)"),
    (
        "value",
        (
            r"not |len\(|_{2,3}check_obj_id\(|___dict_contains\(|set\.__contains__\(|hasattr\("
            r"|getattr failed on|(?:Key|Index)Error on|.* (?:==|!=|<=|>=|<|>) "
            r"|.*__(?:math|numpy)_isnan\("
        ),
    ),
)
_CLASSES = tuple((name, re.compile(pattern, re.DOTALL)) for name, pattern in _PATTERNS)


def guard(reason: str) -> str:
    """Return the guard of a recompile reason, without compile id, source line, hint and stack.

    >>> guard("0/1: n == 3           # if n == 3:  # app.py:7 in step (HINT: ...)")
    'n == 3'
    """
    text = re.sub(r"^(?:!\d+/)?\d+/\d+: ", "", reason)
    text = text.split("\nUser stack trace:\n", 1)[0]
    text = re.split(r"\s+# ", text, maxsplit=1)[0]
    return text.split(" (HINT: ", 1)[0].strip()[:_MAX_GUARD]


def reason_class(reason: str) -> ReasonClass:
    """Return the class of what changed; ``other`` if no other class describes it.

    >>> reason_class("0/0: tensor 'x' size mismatch at index 0. expected 16, actual 17")
    'size'
    """
    text = guard(reason)
    return next((name for name, pattern in _CLASSES if pattern.match(text)), "other")


_HELPS: dict[ReasonClass, str] = {
    "size": "add this size to the target's shapes, or mark the dimension dynamic "
    "(torch._dynamo.mark_dynamic)",
    "value": "pass the value as a tensor, keep it constant, or warm up with each value",
    "dtype": "add a shape for this dtype, or cast before the call",
    "grad_mode": "warm up under the grad mode of serving (no_grad, inference_mode or neither)",
    "num_threads": "warm up with the thread count of serving, in the thread that serves "
    "(WarmupTarget's executor)",
    "global_state": "warm up under the autocast, deterministic and dtype settings of serving",
    "type": "warm up with the types that serving uses",
    "backend": "compile one function with one backend and one set of options",
}


def advice(reason: str) -> str:
    """Return a guard's class and text, and what an operator can do about it.

    >>> print(advice("0/0: tensor 'x' dtype mismatch. expected Float, actual Double"))
    dtype: tensor 'x' dtype mismatch. expected Float, actual Double; add a shape for this dtype, \
or cast before the call
    """
    kind = reason_class(reason)
    helps = _HELPS.get(kind)
    return f"{kind}: {guard(reason)}" + (f"; {helps}" if helps else "")


def limit_advice(reason: str | None) -> str:
    """Return what to do if Dynamo stops compiling a frame that it has compiled too often.

    Args:
        reason: The guard that failed last; ``None`` if it is not known.
    """
    over = "over Dynamo's recompile limit, so new variants run eager"
    raising = "or raise torch._dynamo.config.recompile_limit"
    if not reason:
        return f"{over}: serve fewer variants, {raising}"
    return f"{over} ({advice(reason)[:_MAX_ADVICE]}), {raising}"
