"""A run as one page that needs no network, made from the parts of the live page."""

from __future__ import annotations

import base64
import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING

from compilespan_service.capture import document

if TYPE_CHECKING:
    from compilespan_service.capture.capture import Capture

_ENTRY = "report.js"
_IMPORT = re.compile(r'from "\./(?P<name>[\w-]+\.js)"')
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; img-src data:"
)


def report(capture: Capture) -> str:
    """Return the page of a run."""
    page = files("compilespan_service").joinpath("page")
    modules = _modules()
    # A module at a data: address cannot use relative imports; this map names the modules.
    imports = {f"compilespan/{name}": _address(text) for name, text in modules.items()}
    # Only "<" could end the script element, or begin a comment in it.
    data = json.dumps(document.to_json(capture), separators=(",", ":")).replace("<", "\\u003c")
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"  <style>\n{page.joinpath('style.css').read_text('utf-8')}</style>\n"
        f'  <script type="importmap">{json.dumps({"imports": imports})}</script>\n'
        f'  <script type="application/json" id="capture">{data}</script>\n'
        f'  <script type="module">import "compilespan/{_ENTRY}";</script>'
    )
    shell = page.joinpath("index.html").read_text("utf-8")
    linked = re.compile(r'<link rel="stylesheet".*?</script>', re.DOTALL)
    return linked.sub(lambda _: head, shell, count=1).replace("{{openapi}}", "#")


def _modules() -> dict[str, str]:
    """Return the entry module and all modules that it imports."""
    page = files("compilespan_service").joinpath("page")
    found: dict[str, str] = {}
    pending = [_ENTRY]
    while pending:
        name = pending.pop()
        if name not in found:
            text = page.joinpath(name).read_text("utf-8")
            pending += [match["name"] for match in _IMPORT.finditer(text)]
            found[name] = _IMPORT.sub(r'from "compilespan/\g<name>"', text)
    return found


def _address(text: str) -> str:
    return f"data:text/javascript;base64,{base64.b64encode(text.encode()).decode()}"
