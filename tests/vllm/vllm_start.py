"""What a start of vLLM left behind, and the environment that it is started in."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from receiver import Received

HERE = Path(__file__).parent
PYTHON = os.environ.get("COMPILESPAN_VLLM_PYTHON")


@dataclass
class Start:
    """A start of vLLM that ended."""

    code: int
    log: str
    received: Received
    state: Path

    def compiles(self, kind="compile"):
        return [
            span
            for span in self.received.named("torch.compile")
            if span.attributes["torch.compile.kind"] == kind
        ]

    @property
    def startup(self):
        (span,) = [
            span
            for span in self.received.named("compilespan.startup")
            if span.attributes["compilespan.startup.outcome"] != "died"
        ]
        return span

    def told_s(self, component):
        """Return what vLLM's engine says of its compile time, by component."""
        found = re.search(rf"{component}: ([\d.]+) s", self.log)
        if found is None and component == "language_model":
            found = re.search(r"\(compilation: ([\d.]+) s\)", self.log)
        return float(found[1])

    def took_s(self):
        """Return the seconds of vLLM's own log lines, in order."""
        return [float(s) for s in re.findall(r"torch\.compile took ([\d.]+) s in total", self.log)]


def environment(directory, receiver=None, **env):
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COMPILESPAN_", "OTEL_", "VLLM_", "TRACE"))
    }
    return {
        **kept,
        **(receiver.environment() if receiver is not None else {}),
        "PYTHONPATH": str(HERE / "patches"),
        "FORCE_MODE_3": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CACHE_ROOT": str(directory / "cache"),
        "COMPILESPAN_STATE_DIR": str(directory / "state"),
        "HF_HUB_OFFLINE": "1",
        **env,
    }
