"""Signatures: compiled artefacts are code, and whoever can write them can run it.

A sealed file is JSON with its content, as text, and the signature of that text.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import stat
from typing import TYPE_CHECKING

from compilespan.cache.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

_MIN_KEY_BYTES = 32


def read_key(file: Path) -> bytes:
    """Return the key in a file, without white space around it.

    Raises:
        CacheError: It cannot be read, is too short, or everybody can write it.
    """
    try:
        if file.stat().st_mode & stat.S_IWOTH:
            msg = f"everybody can write the key file {file}; run: chmod o-w {file}"
            raise CacheError(msg)
        key = file.read_bytes().strip()
    except OSError as error:
        msg = f"the key file {file} cannot be read: {error.strerror}"
        raise CacheError(msg) from error
    if len(key) < _MIN_KEY_BYTES:
        msg = (
            f"the key in {file} has {len(key)} bytes and must have at least {_MIN_KEY_BYTES}; "
            "create one with: openssl rand -hex 32"
        )
        raise CacheError(msg)
    return key


def sealed(content: Mapping[str, Any], key: bytes | None, scope: str) -> bytes:
    """Return a file for the store, signed if there is a key, for this scope only."""
    text = json.dumps(content, sort_keys=True)
    signature = _signature(key, scope, text) if key else None
    return json.dumps({"content": text, "signature": signature}).encode()


def unsealed(data: bytes, key: bytes | None, scope: str) -> Any:
    """Return the content of a sealed file.

    Raises:
        CacheError: There is a key, and this is not its signature.
        ValueError: It is torn; ``LookupError``, ``TypeError`` and ``RecursionError`` say so, too.
    """
    outer = json.loads(data)
    text, given = outer["content"], outer["signature"]
    if key is not None:
        expected = _signature(key, scope, text)
        # Takes the same time for each wrong one.
        if not isinstance(given, str) or not hmac.compare_digest(expected.encode(), given.encode()):
            msg = "its signature is missing or wrong"
            raise CacheError(msg)
    return json.loads(text)


def _signature(key: bytes, scope: str, content: str) -> str:
    signed = f"compilespan-cache-1\n{scope}\n{content}".encode()
    return hmac.new(key, signed, hashlib.sha256).hexdigest()
