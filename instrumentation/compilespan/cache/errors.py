"""The error of the compile cache; it costs a warning and the normal start."""

from __future__ import annotations


class CacheError(Exception):
    """The store or the settings of the compile cache cannot be used; says why and what to do."""
