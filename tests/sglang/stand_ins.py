"""Modules in the place of those that need a GPU."""

from __future__ import annotations

import sys
import types


def stand_in(monkeypatch, name, **values):
    """Put a module in the place of one that needs a GPU."""
    module = types.ModuleType(name)
    module.__dict__.update(values)
    monkeypatch.setitem(sys.modules, name, module)
    return module
