"""The token that requests must send, and whether a server needs one."""

from __future__ import annotations

import hashlib
import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import SecretStr


class TokenError(Exception):
    """The token cannot be used; the message says why, and what to do."""


def digest(token: str) -> bytes:
    """Return the digest that is compared instead of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def configured_tokens(token: SecretStr | None, token_file: Path | None) -> tuple[bytes, ...]:
    """Return the digest of the configured token; empty if none is configured.

    Raises:
        TokenError: The token file cannot be read, or a header cannot carry the token.
    """
    if token is not None:
        secret = token.get_secret_value()
    elif token_file is not None:
        try:
            secret = token_file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            msg = f"the token file {token_file} cannot be read: {error}"
            raise TokenError(msg) from error
    else:
        return ()
    secret = secret.strip()
    if not secret:
        msg = "the token is empty; use a random one, e.g. from: openssl rand -hex 32"
        raise TokenError(msg)
    if not all("!" <= character <= "~" for character in secret):
        msg = (
            "the token has characters that a header cannot carry; "
            "use printable ASCII without spaces, e.g. from: openssl rand -hex 32"
        )
        raise TokenError(msg)
    return (digest(secret),)


def is_loopback(host: str) -> bool:
    """Whether a listening address can be reached only from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
