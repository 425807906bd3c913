"""Imports are timed, and the program sees no difference."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import threading
import time
from importlib.machinery import SourceFileLoader
from types import SimpleNamespace

import pytest
import wrapt

from compilespan import get_ledger, mark_ready
from compilespan.process import imports as process_imports
from compilespan.process.imports import MAX_KEPT, ImportTimer, import_timer


@pytest.fixture
def timer():
    timer = ImportTimer()
    timer.begin()
    yield timer
    timer.end()


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Return what makes a module whose name is its own."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def make(name, code="import time; time.sleep(0.02)"):
        *packages, module = name.split(".")
        folder = tmp_path
        for package in packages:
            folder /= package
            folder.mkdir(exist_ok=True)
            (folder / "__init__.py").touch()
        (folder / f"{module}.py").write_text(code)
        made.append(name)
        importlib.invalidate_caches()

    yield make
    for name in list(sys.modules):
        if name.partition(".")[0] in {each.partition(".")[0] for each in made}:
            del sys.modules[name]


def kept(timer):
    return [(package, (end - begin) / 1e9) for package, begin, end, _ in timer.kept]


def test_an_import_is_timed_with_all_that_it_imports(timer, modules):
    modules("inner_timed")
    modules("outer_timed", "import time; time.sleep(0.03); import inner_timed")
    import outer_timed  # noqa: F401

    ((package, seconds),) = kept(timer)
    assert package == "outer_timed"
    assert 0.05 <= seconds < 0.5


def test_a_submodule_that_is_imported_later_belongs_to_its_package(timer, modules):
    modules("pack_timed.sub", "import time; time.sleep(0.02)")
    import pack_timed  # noqa: F401

    importlib.import_module("pack_timed.sub")
    assert kept(timer)[-1][0] == "pack_timed"


def test_an_import_that_fails_is_timed_and_fails_as_it_would(timer, modules):
    modules("broken_timed", "import time; time.sleep(0.02); raise ValueError('mine')")
    with pytest.raises(ValueError, match="mine"):
        importlib.import_module("broken_timed")
    assert "broken_timed" not in sys.modules
    assert kept(timer)[0][0] == "broken_timed"


def test_a_module_that_is_not_there_is_not_there(timer):
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module("no_such_module_timed")
    assert caught.value.name == "no_such_module_timed"
    assert not timer._open


def test_no_spec_loader_or_frame_is_touched(timer, modules):
    modules(
        "seen_timed",
        """
import sys, time
time.sleep(0.002)
loader, of_spec = __loader__, __spec__.loader
frame, files = sys._getframe(), []
while frame:
    files.append(frame.f_code.co_filename)
    frame = frame.f_back
""",
    )
    import seen_timed

    for loader in (
        *(seen_timed.loader, seen_timed.of_spec),
        *(seen_timed.__loader__, seen_timed.__spec__.loader),
    ):
        assert type(loader) is SourceFileLoader
    assert not [file for file in seen_timed.files if "compilespan" in file and "tests" not in file]
    assert kept(timer)[0][0] == "seen_timed"


def test_whoever_only_asks_for_a_spec_imports_nothing(timer, modules):
    modules("asked_timed", "VALUE = 5")
    spec = importlib.util.find_spec("asked_timed")
    assert type(spec.loader) is SourceFileLoader
    assert spec == importlib.util.find_spec("asked_timed")
    time.sleep(0.01)
    assert kept(timer) == []
    modules("imported_timed")
    import imported_timed  # noqa: F401

    assert [package for package, _ in kept(timer)] == ["imported_timed"]


def test_whoever_asks_for_what_another_thread_imports_imports_nothing(timer, modules):
    modules("shared_timed", "import time; time.sleep(0.2)")
    importing = threading.Thread(target=importlib.import_module, args=("shared_timed",))
    importing.start()
    while "shared_timed" not in sys.modules:
        time.sleep(0.001)
    for finder in sys.meta_path:  # as programs do that look for a module themselves
        finder.find_spec("shared_timed", None)
    assert threading.get_ident() not in timer._open
    importing.join()


def test_a_module_can_be_reloaded(timer, modules):
    modules("again_timed", "import time; time.sleep(0.002)")
    import again_timed

    assert importlib.reload(again_timed) is again_timed


def test_what_is_loaded_lazily_stays_lazy(timer, modules):
    modules("lazy_timed", "VALUE = 6")
    spec = importlib.util.find_spec("lazy_timed")
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules["lazy_timed"] = module
    spec.loader.exec_module(module)
    assert type(module).__name__ == "_LazyModule"
    assert module.VALUE == 6


def test_hooks_of_others_are_called(timer, modules):
    called = []
    modules("hooked_timed")
    wrapt.register_post_import_hook(called.append, "hooked_timed")
    import hooked_timed

    assert called == [hooked_timed]
    assert kept(timer)[0][0] == "hooked_timed"


LEGACY = """
import importlib.abc, importlib.machinery, sys, types
{begin}
class L(importlib.abc.Loader):
    def load_module(self, name):
        module = sys.modules[name] = types.ModuleType(name)
        return module
class F:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "virtual_timed":
            return importlib.machinery.ModuleSpec(name, L())
sys.meta_path.append(F)
import virtual_timed
print("imported")
"""


def test_a_loader_of_the_old_kind_works(timer):
    begin = "from compilespan.process.imports import ImportTimer; ImportTimer().begin()"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LEGACY.format(begin=begin)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("imported\n", "")


def test_threads_do_not_mix(timer, modules):
    for number in range(4):
        modules(f"thread_timed_{number}")
    threads = [
        threading.Thread(target=importlib.import_module, args=(f"thread_timed_{number}",))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [each for each in timer.kept if each[0].startswith("thread_timed_")]
    assert len(found) == 4
    assert len({thread for *_, thread in found}) == 4


def test_what_takes_no_time_is_not_kept_and_the_rest_is_bounded(timer, monkeypatch):
    clock = SimpleNamespace(perf_counter_ns=lambda: 999_999)
    monkeypatch.setattr(process_imports, "time", clock)
    timer._ended("quick", 0, 1)
    assert timer.kept == []
    clock.perf_counter_ns = lambda: 1_000_000
    for number in range(2 * MAX_KEPT):
        timer._ended(f"m{number}", 0, 1)
    assert len(timer.kept) == MAX_KEPT


def test_the_ledger_has_what_was_seen_before_and_what_comes_until_it_is_ready(modules):
    timer = ImportTimer()
    timer.begin()
    try:
        modules("before_timed")
        importlib.import_module("before_timed")
        readiness = get_ledger().readiness
        readiness.time_imports()
        readiness.time_imports()  # once
        modules("during_timed")
        importlib.import_module("during_timed")
        told = [(each.part, each.name) for each in readiness.marks]
        assert told == [("boot", None), ("import", "before_timed"), ("import", "during_timed")]
        assert all(each.end_ns >= each.start_ns for each in readiness.marks)
        mark_ready()
        assert timer not in sys.meta_path
        modules("later_timed")
        importlib.import_module("later_timed")
        assert len(readiness.marks) == 3
    finally:
        timer.end()


def test_one_that_a_program_was_started_with_is_found():
    timer = import_timer()
    assert timer not in sys.meta_path
    timer.begin()
    assert import_timer() is timer
    timer.end()


def test_a_fault_of_ours_fails_no_import(modules, monkeypatch):
    readiness = get_ledger().readiness
    readiness.time_imports()
    monkeypatch.setattr(readiness, "note", lambda _: 1 / 0)
    modules("harmless_timed")
    importlib.import_module("harmless_timed")
    assert "harmless_timed" in sys.modules


ALL = """
import sys
sys.path.insert(0, {path!r})
from compilespan.process.imports import ImportTimer
timer = ImportTimer(); timer.begin()
import asyncio, concurrent.futures, ctypes, decimal, email, http.client, importlib.util, json
import multiprocessing, sqlite3, ssl, unittest, xml.etree.ElementTree, zoneinfo
for name in "numpy pydantic fastapi transformers torch google.protobuf wrapt".split():
    if importlib.util.find_spec(name.partition(".")[0]) is not None:
        importlib.import_module(name)
print(sorted({{package for package, *_ in timer.kept}}))
"""


def test_the_packages_of_a_server_are_imported_as_ever(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", ALL.format(path=str(tmp_path))],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "torch" in done.stdout


def test_an_import_that_goes_on_is_part_of_the_start_already(modules):
    """Else a start that has imported for a minute says it was loading."""
    modules("long_timed", "import time; time.sleep(1.0)")
    readiness = get_ledger().readiness
    readiness.time_imports()
    thread = threading.Thread(target=importlib.import_module, args=("long_timed",))
    thread.start()
    try:
        time.sleep(0.4)
        (going_on,) = [mark for mark in readiness.marks if mark.name == "long_timed"]
        assert (going_on.part, going_on.end_ns) == ("import", None)
        assert get_ledger().start().imports_s["long_timed"] > 0.2
    finally:
        thread.join()
    (over,) = [mark for mark in readiness.marks if mark.name == "long_timed"]
    assert over.end_ns is not None
    import_timer().end()
