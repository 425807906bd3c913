"""Times as they are sent."""

from __future__ import annotations

import datetime as dt


def moment(time_ns: int) -> dt.datetime:
    """Return a time in nanoseconds since the epoch as it is sent, in UTC."""
    return dt.datetime.fromtimestamp(time_ns / 1e9, dt.timezone.utc)
