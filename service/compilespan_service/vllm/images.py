"""Requests with images, for models that accept them."""

from __future__ import annotations

import base64
import functools
import io
import os
import secrets
from typing import TYPE_CHECKING, Any

from compilespan_service.vllm.free import left_out

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE_SIZES = "COMPILESPAN_VLLM_IMAGE_SIZES"


def image_requests(model: str) -> Iterator[dict[str, Any]]:
    """Yield a question about an image for each of ``COMPILESPAN_VLLM_IMAGE_SIZES``."""
    for size in filter(None, map(str.strip, os.environ.get(IMAGE_SIZES, "").split(","))):
        width, _, height = size.partition("x")
        if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
            left_out(IMAGE_SIZES, f"{size!r} is not a size in pixels, e.g. 224x224")
            continue
        yield {
            "path": "/v1/chat/completions",
            "json": functools.partial(_question, model, int(width), int(height)),
            "shape": {"image_width": int(width), "image_height": int(height)},
        }


def _question(model: str, width: int, height: int) -> dict[str, Any]:
    """Return a question about a new image, which no cache has."""
    image = {"url": _picture(width, height)}
    content = [{"type": "image_url", "image_url": image}, {"type": "text", "text": "What?"}]
    return {
        "model": model,
        "max_tokens": 1,
        "messages": [{"role": "user", "content": content}],
        "cache_salt": secrets.token_hex(8),
    }


def _picture(width: int, height: int) -> str:
    """Return a PNG of this size and a random color, as a data URL."""
    from PIL import Image  # noqa: PLC0415  # vLLM installs it; only this needs it

    png = io.BytesIO()
    colour = tuple(secrets.token_bytes(3))
    Image.new("RGB", (width, height), colour).save(png, "PNG")
    return f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
