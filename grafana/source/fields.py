"""Units, colours, names and order of fields.

Colours are the page's: encoder teal, language model indigo, other fuchsia, failed red. Each reaches
3:1 against Grafana's light and dark background.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = dict[str, Any]

ENCODER_COLOUR = "#0d9488"
LANGUAGE_MODEL_COLOUR = "#6366f1"
OTHER_COLOUR = "#c026d3"
FAILED_COLOUR = "#dc2626"
WARNING_COLOUR = "#b45309"
NOTHING = "Nothing compiled here"
TIME = "suffix:s"
"""Seconds without scaling. Grafana's own unit ``s`` shows 0.9 s as 900 ms and 90 s as 1.5 min."""
NOWHERE = {"viz": True, "legend": True, "tooltip": True}
"""Hides a field that only links use."""
MERGED: Json = {"id": "merge", "options": {}}


def only(*names: str) -> Json:
    """Return the transformation that keeps only these fields."""
    return {"id": "filterFieldsByName", "options": {"include": {"names": list(names)}}}


def renamed(names: Mapping[str, str]) -> Json:
    """Return the transformation that renames and orders columns and drops the time."""
    order = {name: place for place, name in enumerate(names)}
    options = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": names}
    return {"id": "organize", "options": options}


def override(name: str, **properties: Any) -> Json:
    """Return an override for the field of this name."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


def wide(name: str, pixels: int) -> Json:
    """Return the override that sets the width of a column; other columns share the rest."""
    return override(name, **{"custom.width": pixels})


def coloured(prefix: str, colour: str) -> Json:
    """Return the override that colours fields whose name starts with this prefix."""
    return {
        "matcher": {"id": "byRegexp", "options": f"/^{prefix}/i"},
        "properties": [{"id": "color", "value": fixed(colour)}],
    }


def fixed(colour: str) -> Json:
    """Return a fixed colour."""
    return {"mode": "fixed", "fixedColor": colour}


COMPONENT_COLOURS = [
    coloured("encoder", ENCODER_COLOUR),
    coloured("language model", LANGUAGE_MODEL_COLOUR),
    coloured("other", OTHER_COLOUR),
]
