"""The door to SGLang: the only place that knows its private parts.

Installed beside SGLang this is found by its plugin mechanism (``sglang.srt.plugins``) in every
process that it starts. Without an OTLP endpoint or a state directory nothing happens. It records;
endpoints are those of ``compilespan serve`` with an ``HttpTarget``.
"""

from __future__ import annotations

from compilespan.servers import activation


def install() -> None:
    """Instrument this process if anything is configured. Called by SGLang; never raises."""

    def install_hooks() -> None:
        from compilespan.servers.sglang import hooks  # noqa: PLC0415  # only where it takes part

        hooks.install_hooks()

    activation.enter("SGLang", install_hooks)
