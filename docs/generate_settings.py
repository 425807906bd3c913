"""Writes docs/settings.md: ``python docs/generate_settings.py``."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import typer

from compilespan_service.cli.commands import app

TARGET = Path(__file__).parent / "settings.md"
HEAD = """# Settings

Generated from the command line and a list of environment variables by `docs/generate_settings.py`.
OpenTelemetry's own variables (`OTEL_*`) work as its documentation says; without an OTLP endpoint
nothing is exported.

"""
VARIABLES = {
    "Every process": {
        "COMPILESPAN_STATE_DIR": "Directory of the journals. Processes that share it form the "
        "history and, with the same instance id, one start.",
        "COMPILESPAN_INSTANCE_ID": "Id of the start. The first process of a start sets it for its "
        "children; do not set it yourself unless it is new for each start.",
        "COMPILESPAN_EVENTS": "Where events of compiles go: `span` (default), `log` or `both`.",
        "COMPILESPAN_ENCODER_PATTERNS": "Regular expressions of class names of encoders, separated "
        "by commas; they are tried before the built-in ones.",
        "COMPILESPAN_CACHE_URL": "[Compile cache that replicas share](cache.md): a directory "
        "or any URL of fsspec.",
        "COMPILESPAN_CACHE_MODE": "`read`, `write` or `readwrite` (default).",
        "COMPILESPAN_CACHE_KEY_FILE": "File with the key that signs what is published; only what "
        "has its signature is loaded.",
        "COMPILESPAN_CACHE_WAIT": "Seconds that a warmup waits for another replica that builds the "
        "same; 600 by default.",
        "COMPILESPAN_CACHE_UNSIGNED": "`1` loads compiled code without a signature.",
    },
    "The service": {
        "COMPILESPAN_TOKEN": "Token that requests must send as `Authorization: Bearer`.",
        "COMPILESPAN_TOKEN_FILE": "File with the token.",
        "COMPILESPAN_PROCESSES": "Number of workers that must be ready; defaults to "
        "`WEB_CONCURRENCY`, and with `warmup_router(None)` to all workers that compile.",
        "COMPILESPAN_TRACE_URL": "Address of a trace, with `{trace_id}` in it; the page links to "
        "it.",
    },
    "vLLM": {
        "COMPILESPAN_VLLM_PROMPT_LENGTHS": "Tokens of the warmup's prompts, e.g. `16,128`; empty "
        "for none.",
        "COMPILESPAN_VLLM_IMAGE_SIZES": "Pixels of the warmup's images, e.g. `224x224`.",
        "COMPILESPAN_VLLM_REQUESTS": "Further requests of the warmup: a JSON list, or a file with "
        "one. Each has `path` and `json`.",
    },
}


def text() -> str:
    """Return the page."""
    parts = [HEAD, "## Environment variables\n"]
    for heading, variables in VARIABLES.items():
        parts.append(f"\n### {heading}\n\n| variable | meaning |\n| --- | --- |\n")
        parts += [f"| `{name}` | {meaning} |\n" for name, meaning in variables.items()]
    parts.append("\n## Commands\n")
    for name, command in _commands(typer.main.get_command(app)):
        summary = command.help.split("\n\n")[0].replace("\n", " ")
        parts.append(f"\n### `compilespan {name}`\n\n{summary}\n\n")
        parts.append("| option | variable | default | meaning |\n| --- | --- | --- | --- |\n")
        parts += [_row(each) for each in command.params]
    return "".join(parts)


def _commands(group: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Return all commands by name, those of groups after the group's name."""
    found: list[tuple[str, Any]] = []
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        found += _commands(command, f"{prefix}{name} ") if inner else [(prefix + name, command)]
    return found


def _row(parameter: Any) -> str:
    """Return an option's row: its names, variable, default and help with its choices."""
    is_option = parameter.param_type_name == "option"
    names = ", ".join(parameter.opts) if is_option else parameter.metavar or parameter.name.upper()
    choices = typing.get_args(parameter.type_descriptor.annotation)
    words = [f"`{each}`" for each in choices if isinstance(each, str)]
    meaning = (parameter.help or "").replace("\n", " ")
    if words:
        meaning = f"{meaning} One of {', '.join(words)}."
    variable = f"`{parameter.envvar}`" if parameter.envvar else ""
    default = parameter.default
    shown = "" if default in (None, False, (), "") or parameter.required else f"`{default}`"
    return f"| `{names}` | {variable} | {shown} | {meaning} |\n"


if __name__ == "__main__":
    TARGET.write_text(text(), "utf-8")
