"""``/``: the page. Its shell is static and holds no data, so it needs no token."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, Request, Response

from compilespan_service.door.problems import ProblemError
from compilespan_service.door.route import ProblemRoute

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def routes() -> APIRouter:
    """Return the page and the files that it consists of."""
    router = APIRouter(route_class=ProblemRoute, include_in_schema=False)
    contents = {
        file.name: file.read_bytes()
        for file in files("compilespan_service").joinpath("page").iterdir()
        if file.name.endswith(tuple(_TYPES))
    }

    @router.get("/")
    async def page(request: Request) -> Response:
        # Only a request has the path under which the app is mounted.
        root = str(request.scope.get("root_path", ""))
        openapi = f"{root}{getattr(request.app, 'openapi_url', None) or '/openapi.json'}"
        return _file("index.html", contents["index.html"].replace(b"{{openapi}}", openapi.encode()))

    @router.get("/page/{name}")
    async def file(name: str) -> Response:
        if name not in contents:
            raise ProblemError("not-found", "The page has no such file.")
        return _file(name, contents[name])

    return router


def _file(name: str, content: bytes) -> Response:
    suffix = name[name.rindex(".") :]
    return Response(content, media_type=_TYPES[suffix], headers=_HEADERS)
