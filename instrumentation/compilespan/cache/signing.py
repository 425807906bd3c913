"""Signatures: compiled artefacts are code, and whoever can write them can run it."""

from __future__ import annotations

import hashlib
import hmac
import stat
from typing import TYPE_CHECKING

from compilespan.cache.errors import CacheError

if TYPE_CHECKING:
    from pathlib import Path

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


def signature(key: bytes, namespace: str, content: bytes) -> str:
    """Return the signature of a manifest, which is valid in its namespace only."""
    signed = b"compilespan-cache-1\n" + namespace.encode() + b"\n" + content
    return hmac.new(key, signed, hashlib.sha256).hexdigest()


def is_signed(key: bytes, namespace: str, content: bytes, given: object) -> bool:
    """Whether a signature is right; takes the same time for each wrong one."""
    expected = signature(key, namespace, content)
    return isinstance(given, str) and hmac.compare_digest(expected.encode(), given.encode())
