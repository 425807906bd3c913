"""Why vLLM found nothing in its own cache: what it writes beside each of its directories."""

from __future__ import annotations

import functools
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compilespan import semconv
from compilespan.process import process_age_ns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FILE = "cache_key_factors.json"
_MAX_BYTES = 2**20
_MAX_READ = 64
_MAX_NAMES = 8
_HASHES = {
    "config_hash": "vLLM's configuration",
    "compiler_hash": "compiler or its configuration",
    "code_hash": "code of the model",
}


@functools.lru_cache(maxsize=64)
def why_missed(directory: str) -> str | None:
    """Return in what a cache directory of vLLM differs from the nearest one of an earlier start.

    Of the environment only names of variables are said.

    Args:
        directory: ``torch_compile_cache/HASH/rank_I_J/PREFIX``, of this start.

    Returns:
        ``None`` if no earlier start has left another one, or if nothing is written there.
    """
    own = Path(directory)
    wanted = _read(own / _FILE)
    if wanted is None:
        return None
    root, place = own.parents[2], own.relative_to(own.parents[1])
    began_ns = time.time_ns() - process_age_ns()
    files = sorted(
        (
            (file.stat().st_mtime_ns, file)
            for file in root.glob(f"*/{place}/{_FILE}")
            if file.parent != own
        ),
        reverse=True,
    )
    earlier = [file for changed_ns, file in files if changed_ns < began_ns][:_MAX_READ]
    found = [list(_differing(known, wanted)) for file in earlier if (known := _read(file))]
    nearest = min((each for each in found if each), key=len, default=None)
    if nearest is None:
        return None
    more = len(nearest) - _MAX_NAMES
    said = ", ".join(nearest[:_MAX_NAMES]) + (f", {more} more" if more > 0 else "")
    return semconv.text(said)


def _differing(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    old, new = (each.get("env") for each in (known, wanted))
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                yield f"environment `{semconv.name(name)}`"
    for name, word in _HASHES.items():
        if known.get(name) != wanted.get(name):
            yield word


def _read(file: Path) -> dict[str, Any] | None:
    try:
        if file.stat().st_size > _MAX_BYTES:
            return None
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
