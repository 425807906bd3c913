"""SGLang's own files, on a path with stand-ins for the rest of it, which has no CPU build."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from stand_ins import stand_in  # lies beside this file

HERE = Path(__file__).parent
FILES = os.environ.get("COMPILESPAN_SGLANG")


def pytest_collection_modifyitems(items):
    if FILES is None:
        skip = pytest.mark.skip(reason="needs files of SGLang: make test-vllm")
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(skip)


class _Flag:
    """A variable of SGLang's that is not set."""

    def get(self):
        return None


class _Flags:
    def __getattr__(self, _):
        return _Flag()


@pytest.fixture
def sglang(monkeypatch):
    """The real ``sglang.srt.compilation`` and ``.plugins``; what they import is stood in for."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "sglang"]:
        monkeypatch.delitem(sys.modules, name)
    root = Path(FILES) / "sglang"
    for name, path in (
        ("sglang", root),
        ("sglang.srt", root / "srt"),
        ("sglang.srt.managers", root / "none"),
        ("sglang.srt.entrypoints", root / "none"),
        ("sglang.srt.observability", root / "srt/observability"),
        ("sglang.srt.compilation", root / "srt/compilation"),
        ("sglang.srt.model_executor", root / "none"),
        ("sglang.srt.model_executor.runner_backend_utils", root / "none"),
        ("sglang.srt.model_executor.runner_utils", root / "none"),
    ):
        stand_in(monkeypatch, name, __path__=[str(path)])
    no = {"is_npu": lambda: False, "is_xpu": lambda: False, "print_warning_once": print}
    stand_in(monkeypatch, "sglang.srt.utils", __path__=[])
    stand_in(monkeypatch, "sglang.srt.utils.common", torch_release=(2, 13), **no)
    stand_in(monkeypatch, "sglang.srt.environ", envs=_Flags())
    stand_in(monkeypatch, "sglang.srt.platforms", current_platform=None, __path__=[])
    stand_in(monkeypatch, "sglang.srt.platforms.interface", require_out_of_tree_impl=None)
    backends = "sglang.srt.model_executor.runner_backend_utils"
    stand_in(monkeypatch, f"{backends}.weak_ref_tensor", weak_ref_tensors=lambda x: x)
    stand_in(
        monkeypatch,
        "sglang.srt.model_executor.runner_utils.pool",
        graph_pool_replay_scope=None,
        graph_pool_capture_scope=None,
    )
    stand_in(
        monkeypatch,
        "sglang.srt.model_executor.graph_memory_usage",
        empty_graph_time_usage=dict,
        merge_graph_time_usage=lambda a, b: {**(a or {}), **(b or {})},
    )
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "sglang"]:
        sys.modules.pop(name)
