"""Access control: known hosts, a bearer token, and no changes by pages of other sites."""

from __future__ import annotations

import dataclasses
import hmac
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security, params
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import URL

from compilespan_service.door.problems import ProblemError
from compilespan_service.door.tokens import digest

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITE = frozenset({"same-origin", "none"})
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
ANY_HOST = "*"

_bearer = HTTPBearer(
    auto_error=False, description="The token in COMPILESPAN_TOKEN or COMPILESPAN_TOKEN_FILE."
)


@dataclasses.dataclass(frozen=True, slots=True)
class Guard:
    """Admits or rejects each request except those for the probes and the page.

    Attributes:
        tokens: Digests of the accepted tokens; without any, requests need no token.
        changes_allowed: Whether changes are allowed without a token: on a standalone server, or
            on a router whose app has its own authentication.
        hosts: Host names that requests may use in addition to the address that they reach;
            ``None`` for any. They protect against DNS rebinding: for a browser, a page whose name
            was rebound to this server's address is of the same site, so only its name reveals it.
    """

    tokens: tuple[bytes, ...] = ()
    changes_allowed: bool = True
    hosts: frozenset[str] | None = None

    def as_dependency(self) -> params.Depends:
        """Return the guard as a dependency of routes; with tokens, OpenAPI declares them."""
        depends: params.Depends = Depends(self.with_token if self.tokens else self.admit)
        return depends

    async def with_token(
        self,
        request: Request,
        given: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    ) -> None:
        """Check the request; the declared parameter puts the token into OpenAPI.

        Raises:
            ProblemError: See `check`.
        """
        self.check(request, given)

    def check(self, request: Request, given: HTTPAuthorizationCredentials | None) -> None:
        """Check a request with these credentials.

        Raises:
            ProblemError: ``unauthorized``, ``cross-site`` or ``not-configured``.
        """
        self._check_host(request)
        self._check_token(given)
        if request.method not in _SAFE_METHODS:
            self._check_change(request)

    async def admit(self, request: Request) -> None:
        """Check the request before its body is read.

        Raises:
            ProblemError: See `check`.
        """
        self.check(request, await _bearer(request))

    def _check_host(self, request: Request) -> None:
        if self.hosts is None or ANY_HOST in self.hosts:
            return
        host = _host(request)
        if host is None or not (host == _reached(request) or _is_allowed(host, self.hosts)):
            raise ProblemError(
                "cross-site",
                f"Host {host or request.headers.get('host', '')[:200]!r} is not allowed; use the "
                "address that the server listens on, or set COMPILESPAN_ALLOWED_HOSTS "
                "(compilespan serve --allowed-host NAME).",
            )

    def _check_token(self, given: HTTPAuthorizationCredentials | None) -> None:
        if not self.tokens:
            return
        # Digests have the same length, so the time of a comparison reveals nothing about a token.
        sent = digest(given.credentials.strip() if given is not None else "")
        if not any(hmac.compare_digest(sent, token) for token in self.tokens):
            raise ProblemError(
                "unauthorized",
                "Send the server's token: Authorization: Bearer TOKEN "
                "(COMPILESPAN_TOKEN or COMPILESPAN_TOKEN_FILE of the server).",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _check_change(self, request: Request) -> None:
        site = request.headers.get("sec-fetch-site", "none")
        if site not in _OWN_SITE or not _is_own_origin(request):
            raise ProblemError(
                "cross-site",
                "Pages of other sites may not change anything here; call the API from your own "
                "program, or from this server's page.",
            )
        if not self.tokens and not self.changes_allowed:
            raise ProblemError(
                "not-configured",
                "No authentication is configured, so changes are refused: set COMPILESPAN_TOKEN, "
                "or mount the router with warmup_router(…, dependencies=[…]).",
            )


def guard_of_a_guest(
    tokens: tuple[bytes, ...], allowed_hosts: str | None, *, has_authentication: bool = False
) -> Guard:
    """Return the guard of endpoints on another program's server.

    The server's names are unknown here, so a request's host is checked only if names are
    configured or there is no authentication.
    """
    is_checked = allowed_hosts or not (tokens or has_authentication)
    return Guard(
        tokens,
        changes_allowed=has_authentication,
        hosts=own_names(None, allowed_hosts) if is_checked else None,
    )


def own_names(bound: str | None, allowed: str | None) -> frozenset[str]:
    """Return the host names that requests may use.

    Args:
        bound: Address or name that the server listens on; ``None`` if unknown.
        allowed: The operator's names, separated by commas; ``*.example.com`` allows any name
            below ``example.com``, ``*`` any name.
    """
    names = {_without_port(name.strip().lower()) for name in (allowed or "").split(",")}
    return LOOPBACK_NAMES | (names - {""}) | ({bound.lower()} if bound else frozenset())


def _without_port(name: str) -> str:
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0] if name.count(":") == 1 else name


def _reached(request: Request) -> str:
    """Return the address that a connection reached, in the notation of a Host header."""
    server = request.scope.get("server") or ("", None)
    address = str(server[0]).partition("%")[0]
    return address.removeprefix("::ffff:") if "." in address else address


def _is_allowed(host: str, hosts: frozenset[str]) -> bool:
    return host in hosts or any(name.startswith("*.") and host.endswith(name[1:]) for name in hosts)


def _host(request: Request) -> str | None:
    """Return the host of the ``Host`` header; ``None`` if there is none or it is not valid.

    Starlette parses it. The scope has no server, because Starlette would fall back to it.
    """
    try:
        return URL(scope={**request.scope, "server": None}).hostname
    except ValueError:  # from older versions of Starlette
        return None


def _is_own_origin(request: Request) -> bool:
    origin = request.headers.get("origin")
    try:
        return origin is None or urlsplit(origin).netloc == request.headers.get("host")
    except ValueError:
        return False
