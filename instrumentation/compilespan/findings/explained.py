"""Pages that explain the codes of findings."""

from __future__ import annotations

from importlib.resources import files


def codes() -> list[str]:
    """Return all codes in ascending order."""
    pages = files("compilespan.findings") / "pages"
    names = (page.name for page in pages.iterdir())
    return sorted(name.removesuffix(".md") for name in names if name.startswith("CS"))


def explained(code: str) -> str | None:
    """Return the page of a code, as Markdown; ``None`` if there is no such code."""
    if code not in codes():
        return None
    return (files("compilespan.findings") / "pages" / f"{code}.md").read_text("utf-8")
