"""Records that belong together, so that a hundred recompiles are one finding."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

T = TypeVar("T")

# What was compared, not what was looked at: the dimension and the layer stay.
_COMPARED = re.compile(
    r"(?P<before>==|!=|<=|>=|<|>|expected|actual) (?:'[^']*'|\"[^\"]*\"|[-\w.]+)"
)
_IDS = re.compile(r"0x[0-9a-f]+|\b\d{6,}\b")


def grouped(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Return the items in groups of one key, in the order of their first."""
    groups: dict[Hashable, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def folded(text: str) -> str:
    """Return a text in which compared values and ids are alike.

    >>> folded("tensor 'ids' size mismatch at index 1. expected 16, actual 17")
    "tensor 'ids' size mismatch at index 1. expected N, actual N"
    """
    return _IDS.sub("N", _COMPARED.sub(r"\g<before> N", text))
