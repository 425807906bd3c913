"""Who may ask: a bearer token, and no page of another site (SPEC §5)."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi import Request

from compilespan_service.door.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Collection

    from compilespan_service.settings import Settings

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITE = frozenset({"same-origin", "none"})
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class TokenError(Exception):
    """The token cannot be had; the message says why and what to do."""


@dataclasses.dataclass(frozen=True, slots=True)
class Guard:
    """Decides on each request; the probes do not ask it.

    Attributes:
        token_digest: Of the token that requests must carry; ``None`` where there is none.
        changes_allowed: Whether changing calls are allowed without a token: a server of its own
            on loopback, or a router whose app has its own authentication.
        hosts: Names that requests may call this server by, ``None`` for any. Without a token a
            page whose name was rebound to 127.0.0.1 would else be of our own site.
    """

    token_digest: bytes | None = None
    changes_allowed: bool = True
    hosts: Collection[str] | None = None

    async def __call__(self, request: Request) -> None:
        """Let the request pass.

        Raises:
            ProblemError: ``unauthorized``, ``cross-site`` or ``not-configured``.
        """
        self._check_token(request)
        if self.token_digest is None and self.hosts is not None:
            host = _host(request.headers.get("host", ""))
            if host not in self.hosts:
                raise ProblemError(
                    "cross-site",
                    f"This server is not called {host!r}; ask it by the address it listens on, "
                    "or set COMPILESPAN_TOKEN.",
                )
        if request.method not in _SAFE_METHODS:
            self._check_change(request)

    def _check_token(self, request: Request) -> None:
        if self.token_digest is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # Digests are of one length, so the comparison tells nothing of the token's.
        same = hmac.compare_digest(digest(given.strip()), self.token_digest)
        if scheme.lower() != "bearer" or not same:
            raise ProblemError(
                "unauthorized",
                "Send the server's token: Authorization: Bearer TOKEN "
                "(it is in COMPILESPAN_TOKEN or COMPILESPAN_TOKEN_FILE where the server runs).",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _check_change(self, request: Request) -> None:
        site = request.headers.get("sec-fetch-site", "none")
        origin = request.headers.get("origin")
        own = origin is None or urlsplit(origin).netloc == request.headers.get("host")
        if site not in _OWN_SITE or not own:
            raise ProblemError(
                "cross-site",
                "A page of another site may not change anything here; call the API from your own "
                "program, or from this server's page.",
            )
        if self.token_digest is None and not self.changes_allowed:
            raise ProblemError(
                "not-configured",
                "This router was mounted without authentication, so it refuses changes: set "
                "COMPILESPAN_TOKEN, or mount it with warmup_router(…, dependencies=[…]).",
            )


def digest(token: str) -> bytes:
    """Return what is compared in place of a token."""
    return hashlib.sha256(token.encode()).digest()


def token_digest(settings: Settings) -> bytes | None:
    """Return the digest of the configured token, ``None`` where none is configured.

    Raises:
        TokenError: The token file cannot be read, or the token is empty.
    """
    if settings.token is not None:
        token = settings.token.get_secret_value()
    elif settings.token_file is not None:
        try:
            token = settings.token_file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            msg = f"the token file {settings.token_file} cannot be read: {error}"
            raise TokenError(msg) from error
    else:
        return None
    if not token.strip():
        msg = "the token is empty; put a random one there, e.g. from: openssl rand -hex 32"
        raise TokenError(msg)
    return digest(token.strip())


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is only reachable from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def own_names(host: str) -> frozenset[str]:
    """Return the names that a server on this address may be called by without a token."""
    return _LOOPBACK_NAMES | {host}


def _host(header: str) -> str:
    """Return the host of a ``Host`` header, without port and brackets."""
    return urlsplit(f"//{header}").hostname or ""
