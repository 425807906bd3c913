"""Reads Server-Sent Events as a browser does."""

from __future__ import annotations

import json


def events(response, until="end"):
    """Yield (name, id, data) from a streaming response, comments as ("comment", None, text)."""
    fields = {}
    for line in response.iter_lines():
        if line.startswith(":"):
            yield "comment", None, line[1:].strip()
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield fields["event"], int(fields["id"]), json.loads(fields["data"])
            if fields["event"] == until:
                return
            fields = {}
