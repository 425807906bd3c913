"""Group similar records, so that a hundred recompiles are one finding."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

T = TypeVar("T")

# Only the compared value: the rest of a guard, e.g. the dimension and the layer, stays.
_COMPARED = re.compile(
    r"(?P<before>==|!=|<=|>=|<|>|expected|actual) (?:'[^']*'|\"[^\"]*\"|[-\w.]+)"
)
_IDS = re.compile(r"0x[0-9a-f]+|\b\d{6,}\b")


def grouped(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Return the items grouped by key; groups are in the order of their first items."""
    groups: dict[Hashable, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def folded(text: str) -> str:
    """Return a text with all compared values and ids replaced by ``N``.

    >>> folded("tensor 'ids' size mismatch at index 1. expected 16, actual 17")
    "tensor 'ids' size mismatch at index 1. expected N, actual N"
    """
    return _IDS.sub("N", _COMPARED.sub(r"\g<before> N", text))
