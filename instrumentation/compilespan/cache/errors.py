"""The error of the compile cache; it costs a warning and the normal start."""

from __future__ import annotations


class CacheError(Exception):
    """The store or the settings of the compile cache cannot be used; says why and what to do."""


def in_words(error: Exception) -> str:
    """Return why something failed, with the type of an exception that is not ours."""
    return str(error) if isinstance(error, CacheError) else f"{type(error).__name__}: {error}"
