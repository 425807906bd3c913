"""A service that warms up compiled models and reports the cost (extra ``service``).

    from compilespan_service import HttpTarget, Settings, create_app, warmup_router

Names are imported on first use, so that a server can open its port first.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compilespan_service.app import create_app as create_app
    from compilespan_service.app import warmup_router as warmup_router
    from compilespan_service.settings import Settings as Settings
    from compilespan_service.warmups.http_target import HttpTarget as HttpTarget

_MODULES = {
    "HttpTarget": "compilespan_service.warmups.http_target",
    "Settings": "compilespan_service.settings",
    "create_app": "compilespan_service.app",
    "warmup_router": "compilespan_service.app",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        try:
            return getattr(importlib.import_module(_MODULES[name]), name)
        except ImportError as error:
            msg = (
                f"compilespan_service.{name} needs modules that are not installed ({error}). "
                "Install them with: pip install 'compilespan[service]'"
            )
            raise ImportError(msg) from None
    msg = f"module 'compilespan_service' has no attribute {name!r}"
    raise AttributeError(msg)
