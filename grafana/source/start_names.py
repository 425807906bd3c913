"""What a start is called in a menu, a bar or a table: service, when it began, what caches did.

Prometheus has the time as a number and Grafana shows a variable's text as it comes, so the text is
made of labels here, in the time zone of whoever looks.
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
# Grafana formats its own variable in the reader's time zone, PromQL has UTC: their difference.
_OFFSET_S = (
    "scalar((vector(${__from:date:H} * 3600 + ${__from:date:m} * 60) "
    "- hour(vector($__from / 1000)) * 3600 - minute(vector($__from / 1000)) * 60 + 129600) "
    "% 86400 - 43200)"
)


def began() -> str:
    """Return when each start began, in seconds since the epoch."""
    return by_start(BEGAN, SERVICE, how="min")


def time_to_ready(which: str = ANY) -> str:
    """Return the seconds to ready of each start's slowest process, with ``cache`` in a word.

    The words are those of ``/history``: cold, warm, no cache.
    """
    ready = by_start(STARTUP, SERVICE, how="max", which=which)
    cold = _word("cache", "cold", f"{ready} and {_ON} {is_cold(which)}")
    warm = _word("cache", "warm", f"{ready} and {_ON} {is_warm(which)}")
    return f"({cold} or {_ON} {warm} or {_ON} {_word('cache', 'no cache', ready)})"


def named_starts() -> str:
    """Return when each start began, newest first, with what it is called in the label ``said``."""
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
    """Return for how long the chosen start has not been ready, or was seen, in words."""
    seen = f"timestamp({with_resource(READY, SERVICE, which=CHOSEN)})"
    lasted = f"max(max_over_time({seen}[$__range:1m])) - min({of_start(BEGAN, SERVICE)})"
    goes_on = f"{lasted} and on () (min({with_resource(READY, SERVICE, which=CHOSEN)}) == 0)"
    words = (_word("cache", "starting, for", goes_on), _word("cache", "never ready, for", lasted))
    return f"({' or on () '.join(words)})"


def _living() -> str:
    """Return of each start that has processes which report whether all of them are ready."""
    return f"min by ({START}) ({with_resource(READY, SERVICE)})"


def _at() -> str:
    """Return 1 for each start, with ``at``: hours and minutes, before them the day if not today."""
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
    """Return 1 for each start, with two digits of a time in the label of the function's name."""
    counted = f'count_values by ({START}) ("{function}", {function}({of}))'
    return f'label_replace({counted}, "{function}", "0$1", "{function}", "(.)")'


def _word(label: str, word: str, of: str) -> str:
    return f'label_replace({of}, "{label}", "{word}", "", "")'
