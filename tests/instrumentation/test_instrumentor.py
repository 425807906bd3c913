"""Zero-code instrumentation, in processes of their own where global state matters."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from compilespan import TorchCompileInstrumentor, get_ledger


def run(code, **env):
    """Run Python in a process of its own; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:compilespan", "-c", code],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_import_brings_neither_torch_nor_the_sdk_nor_fastapi():
    assert (
        run(
            "import sys, compilespan\n"
            "heavy = ('torch', 'opentelemetry.sdk', 'fastapi', 'grpc', 'pydantic')\n"
            "print([name for name in heavy if name in sys.modules])"
        )
        == "[]"
    )


def test_the_public_names_are_these_and_no_more():
    import compilespan

    assert set(compilespan.__all__) == {
        "monitor_torch_compile",
        "TorchCompileInstrumentor",
        "mark_component",
        "mark_ready",
        "get_ledger",
        "CompileLedger",
        "CompileRecord",
        "CompileTotals",
        "WarmupTarget",
        "warm",
    }
    assert all(hasattr(compilespan, name) for name in compilespan.__all__)


COMPILE = (
    "import torch\n"
    "torch.compile(lambda x: x + 1, backend='eager')(torch.zeros(3))\n"
    "print(len(get_ledger().records()))"
)


@pytest.mark.parametrize("when", ["before", "after", "late"])
def test_torch_may_be_imported_before_or_after(when):
    head = "from compilespan import TorchCompileInstrumentor, get_ledger\n"
    instrument = "TorchCompileInstrumentor().instrument()\n"
    code = {
        "before": "import torch\n" + head + instrument + COMPILE,
        "after": head + instrument + COMPILE,
        "late": "import torch, torch._dynamo\n" + head + instrument + COMPILE,
    }[when]
    assert run(code) == "1"


def test_instrumenting_imports_no_torch():
    assert (
        run(
            "import sys\n"
            "from compilespan import TorchCompileInstrumentor\n"
            "TorchCompileInstrumentor().instrument()\n"
            "TorchCompileInstrumentor().uninstrument()\n"
            "print('torch' in sys.modules)"
        )
        == "False"
    )


def test_uninstrumented_before_torch_comes_nothing_is_patched():
    code = (
        "from compilespan import TorchCompileInstrumentor, get_ledger\n"
        "TorchCompileInstrumentor().instrument()\n"
        "TorchCompileInstrumentor().uninstrument()\n" + COMPILE
    )
    assert run(code) == "0"


def test_without_torch_installed_the_program_runs(monkeypatch, caplog):
    monkeypatch.setattr(
        TorchCompileInstrumentor, "instrumentation_dependencies", lambda _: ("no-such-torch",)
    )
    TorchCompileInstrumentor().instrument()
    assert not TorchCompileInstrumentor().is_instrumented_by_opentelemetry
    assert "no-such-torch" in caplog.text


def test_the_entry_point_is_found_by_its_name():
    from importlib.metadata import entry_points

    (found,) = entry_points(group="opentelemetry_instrumentor", name="torch_compile")
    assert found.load() is TorchCompileInstrumentor


def test_an_unknown_event_channel_is_refused_with_what_there_is():
    with pytest.raises(ValueError, match="events is 'smoke'.*'span', 'log', 'both'"):
        TorchCompileInstrumentor().instrument(events="smoke")
    assert not TorchCompileInstrumentor().is_instrumented_by_opentelemetry


def test_an_unknown_event_channel_in_the_environment_only_warns(monkeypatch, caplog):
    monkeypatch.setenv("COMPILESPAN_EVENTS", "smoke")
    TorchCompileInstrumentor().instrument()
    assert TorchCompileInstrumentor().is_instrumented_by_opentelemetry
    assert "COMPILESPAN_EVENTS is 'smoke'" in caplog.text


def test_the_channel_of_the_environment_is_used(monkeypatch):
    import torch

    from support import Exported

    exported = Exported.create()
    monkeypatch.setenv("COMPILESPAN_EVENTS", "log")
    TorchCompileInstrumentor().instrument(**exported.providers)
    torch.compile(lambda x: x + 1, backend="eager")(torch.zeros(3))
    told = [log.event_name for log in exported.logs if log.event_name != "torch.compile.stage"]
    assert told == ["torch.compile.graph"]
    assert exported.compiles[0].events == ()


def test_providers_that_are_set_later_are_used():
    code = (
        "from compilespan import TorchCompileInstrumentor, get_ledger\n"
        "TorchCompileInstrumentor().instrument()\n"
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "trace.set_tracer_provider(TracerProvider())\n" + COMPILE + "\n"
        "print(len(get_ledger().records()[0].trace_id))"
    )
    assert run(code).split() == ["1", "32"]


def test_a_switched_off_sdk_leaves_the_ledger():
    code = (
        "from compilespan import TorchCompileInstrumentor, get_ledger\n"
        "from compilespan.sdk import configure\n"
        "configure()\n"
        "TorchCompileInstrumentor().instrument()\n" + COMPILE
    )
    assert run(code, OTEL_SDK_DISABLED="true") == "1"


def test_the_instance_is_left_for_children():
    code = (
        "import os\n"
        "from compilespan import TorchCompileInstrumentor\n"
        "TorchCompileInstrumentor().instrument()\n"
        "print(os.environ['COMPILESPAN_INSTANCE_ID'])"
    )
    assert run(code, COMPILESPAN_INSTANCE_ID="mine") == "mine"
    drawn = run(code, COMPILESPAN_INSTANCE_ID="")
    assert len(drawn) == 16


def test_instrumenting_twice_is_harmless():
    TorchCompileInstrumentor().instrument()
    TorchCompileInstrumentor().instrument()
    import torch

    torch.compile(lambda x: x + 1, backend="eager")(torch.zeros(3))
    assert len(get_ledger().records()) == 1
