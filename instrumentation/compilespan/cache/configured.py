"""The shared cache that the environment or an argument names."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import cast, get_args

from compilespan.cache.errors import CacheError
from compilespan.cache.shared import WAIT_S, Mode, SharedCache

URL = "COMPILESPAN_CACHE_URL"
MODE = "COMPILESPAN_CACHE_MODE"
KEY_FILE = "COMPILESPAN_CACHE_KEY_FILE"
UNSIGNED = "COMPILESPAN_CACHE_UNSIGNED"
WAIT = "COMPILESPAN_CACHE_WAIT"


def configured(url: str | None = None) -> SharedCache | None:
    """Return the cache at ``url``, else at that of the environment; ``None`` if there is none.

    Raises:
        CacheError: A setting cannot be used.
    """
    url = url or os.environ.get(URL)
    if not url:
        return None
    mode = os.environ.get(MODE) or "readwrite"
    if mode not in get_args(Mode):
        msg = f"{MODE} is {mode!r} and must be one of {', '.join(get_args(Mode))}"
        raise CacheError(msg)
    given = os.environ.get(WAIT) or str(WAIT_S)
    try:
        wait_s = float(given)
    except ValueError:
        wait_s = -1.0
    if not 0 <= wait_s < math.inf:
        msg = f"{WAIT} is {given!r} and must be seconds, e.g. 600"
        raise CacheError(msg)
    key_file = os.environ.get(KEY_FILE)
    return SharedCache(
        url,
        mode=cast("Mode", mode),
        key_file=Path(key_file) if key_file else None,
        is_unsigned_allowed=os.environ.get(UNSIGNED, "").lower() in ("1", "true"),
        wait_s=wait_s,
    )
