"""What compilespan itself needs: names of torch and vLLM, the collector, the shared places."""

from __future__ import annotations

import os
import socket
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from compilespan.cache.configured import KEY_FILE, URL
from compilespan.cache.errors import CacheError, in_words
from compilespan.cache.place import Place, without_secrets
from compilespan.dynamo import private
from compilespan.semconv import __version__
from compilespan_service.cli.doctor.check import Check
from compilespan_service.cli.doctor.machine import installed

if TYPE_CHECKING:
    from collections.abc import Iterator

_CALL_S = 5.0
_OTLP = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PORTS = {"http": 80, "https": 443}
_SERVERS = ("torch", "vllm", "sglang")


def checks() -> Iterator[Check]:
    """Yield all of them."""
    yield Check("compilespan", "good", __version__)
    for package in _SERVERS:
        if find_spec(package) is not None:
            yield names(package)
    yield collector()
    if os.environ.get("COMPILESPAN_STATE_DIR"):
        yield state_directory(Path(os.environ["COMPILESPAN_STATE_DIR"]))
    if os.environ.get(URL):
        yield shared_cache(os.environ[URL])


def names(package: str) -> Check:
    """The private names of a package that compilespan uses."""
    what = f"names of {package}"
    missing: list[private.Private] = []
    broken: Exception | None = None
    for each in private.REGISTER:
        if each.module.partition(".")[0] != package or each.is_optional:
            continue
        try:
            import_module(each.module)
        except ImportError as error:
            broken = broken or error
        except Exception as error:  # vLLM's modules raise what they like where no GPU is
            broken = broken or error
            continue
        if each.found() is None:
            missing.append(each)
    found = f"{package} {installed(package) or 'of unknown version'}"
    if missing:
        lost = "; ".join(dict.fromkeys(each.lost for each in missing))
        said = f"{found} lacks {', '.join(each.name for each in missing)}: unavailable: {lost}"
        if broken is not None:
            said += f" ({type(broken).__name__}: {broken})"
        return Check(what, "note", said, "update compilespan: a newer one may know this version")
    return Check(what, "good", f"{found} has all that are used")


def collector() -> Check:
    """The endpoint that telemetry is exported to."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return Check("OTLP", "note", "OTEL_SDK_DISABLED is true: nothing is exported", "unset it")
    endpoint = os.environ.get(_OTLP) or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if not endpoint:
        return Check(
            "OTLP",
            "note",
            "no endpoint: nothing is exported; journals, /totals and `compilespan run` need none",
            f"to export, set {_OTLP}, e.g. to http://collector:4317",
        )
    if find_spec("opentelemetry.exporter.otlp") is None:
        return Check("OTLP", "bad", endpoint, "pip install 'compilespan[otlp]'")
    url = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    endpoint = endpoint.replace(f"{url.netloc.rpartition('@')[0]}@", "")  # user and password
    try:
        address = (url.hostname or "", url.port or _PORTS.get(url.scheme, 4317))
        with socket.create_connection(address, timeout=_CALL_S):
            return Check("OTLP", "good", f"{endpoint} is reachable")
    except (OSError, ValueError) as error:
        return Check(
            "OTLP",
            "bad",
            f"{endpoint} cannot be reached: {error}",
            "is the collector up, and is this its address from here?",
        )


def state_directory(directory: Path) -> Check:
    """The directory of the journals."""
    remedy = "create it for this user, on a volume that outlives the container"
    if not directory.is_dir():
        return Check("state directory", "bad", f"{directory} does not exist", remedy)
    if not os.access(directory, os.W_OK | os.X_OK):
        return Check("state directory", "bad", f"{directory} cannot be written", remedy)
    journals = sum(1 for _ in directory.glob("*.jsonl"))
    return Check("state directory", "good", f"{directory}: {journals} journals")


def shared_cache(url: str) -> Check:
    """The compile cache that replicas share."""
    shown, key = without_secrets(url), os.environ.get(KEY_FILE)
    began_s = time.monotonic()
    try:
        place = Place(url, Path(key) if key else None)
        is_unsigned = os.environ.get("COMPILESPAN_CACHE_UNSIGNED", "").lower() in ("1", "true")
        store = place.trusted(is_unsigned_allowed=is_unsigned)
        files = len(store.names("environments/"))
    except CacheError as error:
        return Check("shared cache", "bad", f"{shown}: {error}", "see docs/cache.md")
    except Exception as error:  # a store may raise anything
        return Check("shared cache", "bad", f"{shown}: {in_words(error)}", "is it up?")
    spent_s = time.monotonic() - began_s
    said = f"{shown}: {files} environments, listed in {spent_s:.1f} s"
    return Check("shared cache", "good", said)
