"""Who may ask: known hosts, a bearer token, and no page of another site (SPEC §5)."""

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
    """Decides on each request; the probes do not ask it.

    Attributes:
        tokens: Digests of the tokens of which requests must carry one; none if anybody may ask.
        changes_allowed: Whether changing calls are allowed without a token: to a server of its
            own on loopback, or to a router whose app has its own authentication.
        hosts: Names that requests may call this server by, besides the address that they reach;
            ``None`` for any. A page whose own name was rebound to this server's address is of the
            same site to a browser, so nothing but the name gives it away.
    """

    tokens: tuple[bytes, ...] = ()
    changes_allowed: bool = True
    hosts: frozenset[str] | None = None

    def as_dependency(self) -> params.Depends:
        """Return it for routes; if there is a token, OpenAPI says so."""
        depends: params.Depends = Depends(self.with_token if self.tokens else self.admit)
        return depends

    async def with_token(
        self,
        request: Request,
        given: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    ) -> None:
        """Let the request pass; the declaration puts the token into OpenAPI.

        Raises:
            ProblemError: See `check`.
        """
        self.check(request, given)

    def check(self, request: Request, given: HTTPAuthorizationCredentials | None) -> None:
        """Decide on a request with these credentials.

        Raises:
            ProblemError: ``unauthorized``, ``cross-site`` or ``not-configured``.
        """
        self._check_host(request)
        self._check_token(given)
        if request.method not in _SAFE_METHODS:
            self._check_change(request)

    async def admit(self, request: Request) -> None:
        """Decide before anything of the request is read.

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
                f"This server is not called {host or request.headers.get('host', '')[:200]!r}; use "
                "the address that it listens on, or allow the name with COMPILESPAN_ALLOWED_HOSTS "
                "(compilespan serve --allowed-host NAME).",
            )

    def _check_token(self, given: HTTPAuthorizationCredentials | None) -> None:
        if not self.tokens:
            return
        # Digests are of one length, so the time of a comparison depends on no token.
        sent = digest(given.credentials.strip() if given is not None else "")
        if not any(hmac.compare_digest(sent, token) for token in self.tokens):
            raise ProblemError(
                "unauthorized",
                "Send the server's token: Authorization: Bearer TOKEN "
                "(it is in COMPILESPAN_TOKEN or COMPILESPAN_TOKEN_FILE where the server runs).",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _check_change(self, request: Request) -> None:
        site = request.headers.get("sec-fetch-site", "none")
        if site not in _OWN_SITE or not _is_own_origin(request):
            raise ProblemError(
                "cross-site",
                "A page of another site may not change anything here; call the API from your own "
                "program, or from this server's page.",
            )
        if not self.tokens and not self.changes_allowed:
            raise ProblemError(
                "not-configured",
                "No authentication is configured, so changes are refused: set COMPILESPAN_TOKEN, "
                "or mount the router with warmup_router(…, dependencies=[…]).",
            )


def own_names(bound: str | None, allowed: str | None) -> frozenset[str]:
    """Return the names that a server may be called by.

    Args:
        bound: The address or name that it listens on, if it is known.
        allowed: What the operator adds, separated by commas; ``*.example.com`` is any name below
            ``example.com``, ``*`` any name.
    """
    names = {_without_port(name.strip().lower()) for name in (allowed or "").split(",")}
    return LOOPBACK_NAMES | (names - {""}) | ({bound.lower()} if bound else frozenset())


def _without_port(name: str) -> str:
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0] if name.count(":") == 1 else name


def _reached(request: Request) -> str:
    """Return the address that a connection reached, as a Host header writes it."""
    server = request.scope.get("server") or ("", None)
    address = str(server[0]).partition("%")[0]
    return address.removeprefix("::ffff:") if "." in address else address


def _is_allowed(host: str, hosts: frozenset[str]) -> bool:
    return host in hosts or any(name.startswith("*.") and host.endswith(name[1:]) for name in hosts)


def _host(request: Request) -> str | None:
    """Return the host of the ``Host`` header; ``None`` if there is none or it is not valid.

    Starlette parses it; without a server in the scope it takes no other answer for it.
    """
    try:
        return URL(scope={**request.scope, "server": None}).hostname
    except ValueError:  # of older versions
        return None


def _is_own_origin(request: Request) -> bool:
    origin = request.headers.get("origin")
    try:
        return origin is None or urlsplit(origin).netloc == request.headers.get("host")
    except ValueError:
        return False
