"""Writes docs/http.md from the service's OpenAPI document: ``python docs/generate_http.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from compilespan_service.app import create_app
from compilespan_service.settings import Settings

TARGET = Path(__file__).parent / "http.md"
HEAD = """# HTTP reference

Generated from the service's OpenAPI document (`/openapi.json`) by
`docs/generate_http.py`. Errors are problem documents (RFC 9457): `type` is
`urn:compilespan:problem:` and the word in brackets.
"""


def text() -> str:
    """Return the page."""
    document = create_app(Settings()).openapi()
    parts = [HEAD]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.append(_operation(method, path, operation))
    parts.append("\n# What travels\n")
    for name, schema in document["components"]["schemas"].items():
        parts.append(_schema(name, schema))
    return "".join(parts)


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    lines = [f"\n## `{method.upper()} {path}`\n\n{operation['summary']}.\n"]
    if parameters := operation.get("parameters"):
        lines.append("\n| parameter | where | type | |\n| --- | --- | --- | --- |\n")
        lines += [
            f"| `{p['name']}` | {p['in']} | {_type(p['schema'])} | {p.get('description', '')} |\n"
            for p in parameters
        ]
    if body := operation.get("requestBody"):
        (content,) = body["content"].values()
        lines.append(f"\nBody (optional): {_type(content['schema'])}.\n")
    lines.append("\n| status | |\n| --- | --- |\n")
    for status, response in sorted(operation["responses"].items()):
        content = response.get("content", {})
        problems = [kind for each in content.values() for kind in each.get("examples", {}) if kind]
        described = " or ".join(
            dict.fromkeys(_type(each["schema"]) for each in content.values() if "schema" in each)
        )
        words = response["description"].replace("Successful Response", "It worked")
        if problems:
            words += f" ({', '.join(f'`{kind}`' for kind in problems)})"
        elif described and described != "any":
            words += f": {described}"
        lines.append(f"| {status} | {words} |\n")
    return "".join(lines)


def _schema(name: str, schema: dict[str, Any]) -> str:
    lines = [f"\n## {name}\n\n{schema.get('description', '')}\n"]
    if "properties" in schema:
        lines.append("\n| field | type | |\n| --- | --- | --- |\n")
        lines += [
            f"| `{field}` | {_type(kind)} | {kind.get('description', '')} |\n"
            for field, kind in schema["properties"].items()
        ]
    for example in schema.get("examples", ()):
        lines.append(f"\n```json\n{json.dumps(example, indent=2)}\n```\n")
    return "".join(lines)


def _type(schema: dict[str, Any]) -> str:  # noqa: PLR0911  # one return for each kind of schema
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(_type(each) for each in options)
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return str(schema.get("format") or schema.get("type", "any"))


if __name__ == "__main__":
    TARGET.write_text(text(), "utf-8")
