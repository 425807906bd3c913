"""Fields of panels: units, colours, names and order.

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
"""A unit that stays what it is: Grafana's own ``s`` turns into ms or min beside another number."""
NOWHERE = {"viz": True, "legend": True, "tooltip": True}
"""Where a field is not shown that is there for links only."""
MERGED: Json = {"id": "merge", "options": {}}


def only(*names: str) -> Json:
    """Return the transformation that leaves these fields."""
    return {"id": "filterFieldsByName", "options": {"include": {"names": list(names)}}}


def renamed(names: Mapping[str, str]) -> Json:
    """Return the transformation that names and orders columns, and leaves out the time."""
    order = {name: place for place, name in enumerate(names)}
    options = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": names}
    return {"id": "organize", "options": options}


def override(name: str, **properties: Any) -> Json:
    """Return what is different for the field of this name."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


def wide(name: str, pixels: int) -> Json:
    """Return the override that gives a table's column its width; the others share the rest."""
    return override(name, **{"custom.width": pixels})


def coloured(prefix: str, colour: str) -> Json:
    """Return the override that colours what begins like this."""
    return {
        "matcher": {"id": "byRegexp", "options": f"/^{prefix}/i"},
        "properties": [{"id": "color", "value": fixed(colour)}],
    }


def fixed(colour: str) -> Json:
    """Return one colour, whatever the value."""
    return {"mode": "fixed", "fixedColor": colour}


COMPONENT_COLOURS = [
    coloured("encoder", ENCODER_COLOUR),
    coloured("language model", LANGUAGE_MODEL_COLOUR),
    coloured("other", OTHER_COLOUR),
]
