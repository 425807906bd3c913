"""Times as they travel."""

from __future__ import annotations

import datetime as dt


def moment(time_ns: int) -> dt.datetime:
    """Return a time of the library, nanoseconds since the epoch, as it travels."""
    return dt.datetime.fromtimestamp(time_ns / 1e9, dt.timezone.utc)
