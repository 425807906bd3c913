"""The components of a graph's cache key, small enough to be kept beside the cache entry.

torch describes a component as ``[hash] component: value`` (`FxGraphCachePickler.debug_lines`). Of
a hash 8 bytes are kept; a value is kept in plain text only if it is a number, a truth value or the
metadata of a tensor. Other values may contain paths and code.
"""

from __future__ import annotations

import copy
import hashlib
import pickle
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

GRAPH = "gm"
ARGUMENT = "example_inputs"
CONFIG = "inductor_config"
AUTOGRAD_CONFIG = "autograd_config"
ARGUMENT_FIELDS = ("dtype", "size", "stride", "device", "requires_grad", "layout")
"""What the value of an argument consists of, separated by spaces."""

_LINE = re.compile(r"\[([a-z2-7]{13})[a-z2-7]*\] (\w+(?:\[[^\]\n]{0,100}\])?): (.*)")
_PLAIN = re.compile(r"True|False|None|-?\d{1,12}(\.\d{1,6})?|torch\.\w{1,20}|s\d{1,6}")
_PRECISION = re.compile(r"\('(\w*)', (True|False), (True|False)\)")
_SYMBOL = re.compile(r"(?:^|[ x*+(-])s\d+")
_TENSOR = re.compile(
    r"TensorMetadata\(dtype=torch\.(\w+), shape=torch\.Size\(\[([^\]]*)\]\), stride=\(([^)]*)\), "
    r"device=device\(type='(\w+)'(?:, index=(\d+))?\).*?requires_grad=(True|False)"
)
_MAX_SIZES = 100


def of_lines(lines: Iterable[str]) -> dict[str, str]:
    """Return the values by component, from torch's own description."""
    found: dict[str, str] = {}
    for line in lines:
        if match := _LINE.match(line):
            digest, component, value = match.groups()
            found[component] = _value(component, digest, value)
    return found


def of_autograd(pickler: Any, details: Any) -> dict[str, str]:
    """Return the values by component of AOTAutograd's key, without its graph.

    Takes some 10 ms, most of it in torch.

    Args:
        pickler: torch's ``AOTAutogradCachePickler``.
        details: torch's ``AOTAutogradCacheDetails``.
    """
    described = copy.copy(details)
    vars(described).pop(GRAPH, None)  # after the lookup it is no longer in the form of the key
    found = of_lines(pickler.debug_lines(described))
    config = getattr(details, AUTOGRAD_CONFIG, None)
    if isinstance(config, bytes):
        found.pop(AUTOGRAD_CONFIG, None)
        values = pickle.loads(config)  # noqa: S301  # torch pickled it in this process
        for name, value in values.items():
            text = repr(value)
            digest = hashlib.sha256(text.encode()).hexdigest()[:16]
            component = f"{AUTOGRAD_CONFIG}[{name}]"
            found[component] = _value(component, digest, text)
    return found


def has_symbols(parts: Mapping[str, str]) -> bool:
    """Whether an argument has a size that is not fixed."""
    plain = (value.partition("#")[0] for name, value in parts.items() if name.startswith(ARGUMENT))
    return any(map(_SYMBOL.search, plain))


def folded(parts: Mapping[str, str], component: str) -> dict[str, str]:
    """Return the same with one digest for all parts of a component that has many."""
    prefix = f"{component}["
    many = sorted(each for each in parts.items() if each[0].startswith(prefix))
    rest = {name: value for name, value in parts.items() if not name.startswith(prefix)}
    return rest | {component: f"#{hashlib.sha256(repr(many).encode()).hexdigest()[:16]}"}


def _value(component: str, digest: str, value: str) -> str:
    if component.startswith(ARGUMENT) and (tensor := _TENSOR.match(value)):
        dtype, size, stride, device, index, requires_grad = tensor.groups()
        return " ".join(
            (
                dtype,
                _sizes(size),
                _sizes(stride),
                device + (index or ""),
                requires_grad,
                f"#{digest}",
            )
        )
    if precision := _PRECISION.fullmatch(value):
        return " ".join(precision.groups())
    if _PLAIN.fullmatch(value):
        return value
    return f"#{digest}"


def _sizes(text: str) -> str:
    """Return sizes or strides without spaces, e.g. ``8x16``; ``-`` for a scalar."""
    return text.replace(" ", "").strip(",").replace(",", "x")[:_MAX_SIZES] or "-"
