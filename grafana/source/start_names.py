"""Names of starts for menu, bars and tables: service, start time, cache state.

Grafana cannot format a number inside the text of a variable, so PromQL builds the text from labels,
in the time zone of the viewer.
"""

from __future__ import annotations

from grafana.source.metrics import BEGAN, READY, STARTUP
from grafana.source.queries import (
    ANY,
    CHOSEN,
    NO_ID,
    SERVICE,
    START,
    by_start,
    is_cold,
    is_warm,
    joined,
    of_start,
    with_resource,
)

_ON = f"on ({START})"
_DAY_S = 86400
# Offset of the viewer's time zone: Grafana formats ${__from} in that zone, PromQL uses UTC.
_OFFSET_S = (
    "scalar((vector(${__from:date:H} * 3600 + ${__from:date:m} * 60) "
    "- hour(vector($__from / 1000)) * 3600 - minute(vector($__from / 1000)) * 60 + 129600) "
    "% 86400 - 43200)"
)


def began() -> str:
    """Return the time at which each start began, in seconds since the epoch."""
    return by_start(BEGAN, SERVICE, how="min")


def time_to_ready(which: str = ANY) -> str:
    """Return the seconds to ready of the slowest process per start.

    The label ``cache`` is the cache state as in ``/history``: cold, warm, no cache.
    """
    ready = by_start(STARTUP, SERVICE, how="max", which=which)
    cold = _word("cache", "cold", f"{ready} and {_ON} {is_cold(which)}")
    warm = _word("cache", "warm", f"{ready} and {_ON} {is_warm(which)}")
    return f"({cold} or {_ON} {warm} or {_ON} {_word('cache', 'no cache', ready)})"


def named_starts() -> str:
    """Return the start times, newest first; the label ``said`` is the name of the start."""
    states = (
        _word("cache", "starting", f"({_living()} == 0) + 1"),
        f"{time_to_ready()} ^ 0",
        _word("cache", "never ready", f"{began()} ^ 0"),
    )
    state = f" or {_ON} ".join(states)
    whole = f"min by (job, {START}) ({joined(BEGAN, SERVICE)})"
    told = f"{whole} * {_ON} group_left (at) {_at()} * {_ON} group_left (cache) ({state})"
    said = f'label_join({told}, "said", " · ", "job", "at", "cache")'
    here = f'label_join({said}, "said_here", " · ", "at", "cache")'
    named = f'label_replace({here}, "start", "$1", "{START}", "(.+)")'
    return f'sort_desc(label_replace({named}, "start", "{NO_ID}", "start", ""))'


def without_ready() -> str:
    """Return how long the selected start has been starting, or lasted if it was never ready."""
    seen = f"timestamp({with_resource(READY, SERVICE, which=CHOSEN)})"
    lasted = f"max(max_over_time({seen}[$__range:1m])) - min({of_start(BEGAN, SERVICE)})"
    goes_on = f"{lasted} and on () (min({with_resource(READY, SERVICE, which=CHOSEN)}) == 0)"
    words = (_word("cache", "starting, for", goes_on), _word("cache", "never ready, for", lasted))
    return f"({' or on () '.join(words)})"


def _living() -> str:
    """Return per start with living processes whether all of them are ready (0 or 1)."""
    return f"min by ({START}) ({with_resource(READY, SERVICE)})"


def _at() -> str:
    """Return 1 per start; the label ``at`` is its time, with the date if older than a day."""
    local = f"({began()} + {_OFFSET_S})"
    clock = f"{_digits('hour', local)} * {_ON} group_left (minute) {_digits('minute', local)}"
    day = (
        f"{_digits('month', local)} * {_ON} group_left (day_of_month) "
        f"{_digits('day_of_month', local)}"
    )
    time = f'label_join({clock}, "at", ":", "hour", "minute")'
    date = f'label_join({day}, "date", "-", "month", "day_of_month")'
    dated = f'label_join({time} * {_ON} group_left (date) {date}, "at", " ", "date", "at")'
    earlier = f"{began()} < time() - {_DAY_S}"
    return f"sum by ({START}, at) ({dated} and {_ON} {earlier} or {_ON} {time})"


def _digits(function: str, of: str) -> str:
    """Return 1 per start; the label named like the function has its value in two digits."""
    counted = f'count_values by ({START}) ("{function}", {function}({of}))'
    return f'label_replace({counted}, "{function}", "0$1", "{function}", "(.)")'


def _word(label: str, word: str, of: str) -> str:
    return f'label_replace({of}, "{label}", "{word}", "", "")'
