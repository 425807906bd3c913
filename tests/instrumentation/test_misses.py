"""Why a graph was not in the cache: which component of its key differs from the nearest one."""

from __future__ import annotations

import errno
import importlib
import json
import logging
import os
import re
import time
import zlib
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import torch

from compilespan import get_ledger
from compilespan.cache import namespace
from compilespan.cache.shared import SharedCache
from compilespan.dynamo import key_parts
from compilespan.dynamo.key_difference import MAX_DIFFERENCES, differences
from compilespan.dynamo.known_keys import (
    FOLDER,
    MAX_BYTES,
    MAX_KEPT,
    KnownKeys,
    LookedUp,
    known_keys,
)
from compilespan.findings.finders import findings
from compilespan.findings.finding import Evidence
from support import built, events

pytestmark = pytest.mark.timeout(300)

REASON = "torch.compile.cache.miss.reason"


class Multiply(torch.nn.Module):
    """A matrix product, for which inductor builds no code, so that it compiles quickly."""

    def __init__(self, value=1.0, times=1):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((8, 8), value))
        self.times = times

    def forward(self, x):
        for _ in range(self.times):
            x = x @ self.weight
        return x


class Other(Multiply):
    """Another class with the same operations."""


def twice():
    """Return a model with other operations on the same inputs."""
    return Multiply(times=2)


@contextmanager
def threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


@contextmanager
def precision(value):
    before = torch.backends.cuda.matmul.fp32_precision
    torch.set_float32_matmul_precision(value)
    yield
    torch.backends.cuda.matmul.fp32_precision = before


@contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(torch.float32)


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def inductor(**values):
    return torch._inductor.config.patch({name.replace("__", "."): v for name, v in values.items()})


@contextmanager
def environment(**variables):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


def elsewhere():
    """Return the same model from a file in another directory."""
    scope = {"Multiply": Multiply, "torch": torch}
    source = "class Moved(Multiply):\n    def forward(self, x):\n        return x @ self.weight"
    exec(compile(source, "/srv/elsewhere/model.py", "exec"), scope)
    return scope["Moved"]()


@pytest.fixture
def start(monkeypatch, tmp_path, instrumented):
    """Return a function that compiles as a new start does, and says what the cache had."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))

    def run(model=None, x=None, within=None, is_grad=False, **options):
        monkeypatch.setenv("COMPILESPAN_INSTANCE_ID", os.urandom(4).hex())
        torch._dynamo.reset()
        x = torch.ones(4, 8) if x is None else x
        with torch.set_grad_enabled(is_grad), within or nullcontext():
            torch.compile(model or Multiply(), **options)(x)
        (graph,) = events(instrumented.compiles[-1], "torch.compile.graph")
        return graph["torch.compile.cache.result"], graph.get(REASON)

    return run


PARTS = {
    "thread count": ({"within": lambda: threads(1)}, "thread count {threads} → 1"),
    "grad mode": ({"is_grad": True}, "grad mode False → True"),
    "autocast": (
        {"within": lambda: torch.autocast("cpu", torch.bfloat16)},
        "autocast",
    ),
    "default dtype": (
        {"within": lambda: default_dtype(torch.float64), "model": lambda: Multiply().float()},
        "default dtype torch.float32 → torch.float64",
    ),
    "matmul precision": (
        {"within": lambda: precision("high")},
        "matmul precision none → tf32",
    ),
    "deterministic algorithms": (
        {"within": deterministic},
        "deterministic algorithms False → True",
    ),
    "mode": ({"mode": "max-autotune-no-cudagraphs"}, "config `max_autotune` False → True"),
    "options": ({"options": {"epilogue_fusion": False}}, "config `epilogue_fusion` True → False"),
    "settings of torch": ({"within": lambda: inductor(cpp__simdlen=256)}, "config `cpp.simdlen`"),
    "size": ({"x": lambda: torch.ones(5, 8)}, "argument 1: size 4x8 → 5x8"),
    "stride": ({"x": lambda: torch.ones(8, 4).t()}, "argument 1: stride 8x1 → 1x4"),
    "dtype": (
        {"x": lambda: torch.ones(4, 8).double(), "model": lambda: Multiply().double()},
        "argument 0: dtype float32 → float64 (and 1 more)",
    ),
    "requires_grad": (
        {"x": lambda: torch.ones(4, 8, requires_grad=True)},
        "argument 1: requires_grad False → True",
    ),
    "dynamic": ({"dynamic": True}, "dynamic shapes False → True"),
    "operations": ({"model": twice}, "the graph itself"),
    "tag": (
        {"within": lambda: torch.compiler.config.patch(cache_key_tag="b")},
        "option `cache_key_tag`",
    ),
}
"""What is part of torch's key, and what a miss says where it differs."""

SAME = {
    "weights": {"model": lambda: Multiply(2.0)},
    "class name": {"model": Other},
    "seed": {"within": torch.random.fork_rng},
    "path": {"model": elsewhere},
    "environment": {"within": lambda: environment(HOSTNAME="pod-7", PORT="8123")},
}
"""What is no part of it."""


def test_the_table_in_the_docs_has_a_row_for_each():
    text = (Path(__file__).parents[2] / "docs/cache.md").read_text("utf-8")
    for heading, rows in (("part of torch's key |", PARTS), ("no part of torch's key |", SAME)):
        table = text.partition(f"\n| {heading}")[2].partition("\n\n")[0]
        assert re.findall(r"^\| ([\w ]+) \|", table, re.MULTILINE) == list(rows)


def made(options):
    return {name: each() if callable(each) else each for name, each in options.items()}


@pytest.mark.parametrize("name", PARTS)
def test_a_miss_says_what_differs(start, name):
    options, expected = PARTS[name]
    is_grad = name == "requires_grad"
    assert start(is_grad=is_grad) == ("miss", None)
    result, why = start(**{"is_grad": is_grad, **made(options)})
    assert result == "miss"
    assert expected.format(threads=torch.get_num_threads()) in why
    assert start(is_grad=is_grad)[0] == "hit"


@pytest.mark.parametrize("name", SAME)
def test_what_is_no_part_of_the_key_hits(start, name):
    assert start()[0] == "miss"
    assert start(**made(SAME[name])) == ("hit", None)


def test_an_entry_that_is_gone_has_the_same_key(start, tmp_path):
    start()
    for name in ("aotautograd", "fxgraph"):
        (tmp_path / "cache" / name).rename(tmp_path / name)
    assert start() == (
        "miss",
        "same key: its entry is gone, was not stored, or was made for other sizes",
    )


def test_without_the_autograd_cache_inductors_key_tells(start):
    with torch._functorch.config.patch(enable_autograd_cache=False):
        assert start() == ("miss", None)
        assert start(mode="max-autotune-no-cudagraphs")[1].startswith("config `")


def test_entries_of_this_start_are_not_compared(start, monkeypatch):
    start()
    torch._dynamo.reset()
    with torch.no_grad():
        torch.compile(Multiply())(torch.ones(6, 8))
    (event,) = [e for e in get_ledger().records()[-1].events if e.name == "torch.compile.graph"]
    assert event.attributes["torch.compile.cache.result"] == "miss"
    assert REASON not in event.attributes


def test_the_nearest_key_has_the_same_graph(start):
    start(twice(), within=threads(1))
    start(Multiply(), is_grad=True, within=threads(1))
    assert start(twice())[1] == f"thread count 1 → {torch.get_num_threads()}"


def test_a_finding_has_the_fix(start):
    start()
    start(within=threads(1))
    start(twice(), is_grad=True)
    found = [each for each in findings(Evidence(get_ledger().records())) if each.code == "CS036"]
    assert {each.fix.partition(":")[0] for each in found} == {
        "give all starts the same OMP_NUM_THREADS",
        "warm up under the grad mode of serving",
    }
    (threaded,) = [each for each in found if "thread" in each.what]
    assert threaded.what == (
        f"1 graph not in the cache: thread count {torch.get_num_threads()} → 1"
    )
    assert threaded.seconds == get_ledger().records()[1].duration_s


def test_nothing_is_kept_of_a_lookup_that_hit(start, instrumented, monkeypatch):
    start()
    monkeypatch.setattr(key_parts, "of_autograd", None)
    monkeypatch.setattr(key_parts, "of_lines", None)
    assert start() == ("hit", None)


KEY = {"torch_version": "#a", "cpp_runtime_thread_count": "8", "gm": "#b"}


@pytest.fixture
def keys(tmp_path, monkeypatch):
    """Return a function that looks up a key in a new start, and its directory."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    importlib.import_module("torch._inductor.runtime.cache_dir_utils")

    def look_up(key, parts, name="Model"):
        monkeypatch.setenv("COMPILESPAN_INSTANCE_ID", os.urandom(4).hex())
        return KnownKeys().why_missed(LookedUp(key, parts, time.time_ns()), name)

    look_up.directory = tmp_path / FOLDER
    return look_up


def test_another_version_of_torch_is_all_that_is_said(keys):
    keys("one", KEY)
    (file,) = keys.directory.iterdir()
    found = json.loads(zlib.decompress(file.read_bytes()))
    file.write_bytes(zlib.compress(json.dumps(["2.1.0", *found[1:]]).encode()))
    assert keys("two", {**KEY, "cpp_runtime_thread_count": "4"}).startswith("torch 2.1.0 → ")


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"torn", zlib.compress(b"{}"), zlib.compress(b"[1, 2, 3, 4]"), bytes(MAX_BYTES + 1)),
        *(zlib.compress(b"[" * 100_000), zlib.compress(bytes(2**26))),
        zlib.compress(b'["2.13.0", "a", "b", {"gm": null, "x": ["' + b"y" * 9_000 + b'"]}]'),
    ],
)
def test_a_file_of_anybody_is_read_without_harm(keys, content):
    keys.directory.mkdir()
    (keys.directory / "other.key").write_bytes(content)
    keys("one", KEY)
    assert keys("two", {**KEY, "cpp_runtime_thread_count": "4"}) is not None


def test_a_link_is_not_followed(keys, tmp_path):
    keys("one", KEY)
    (keys.directory / "one.key").rename(tmp_path / "elsewhere")
    (keys.directory / "one.key").symlink_to(tmp_path / "elsewhere")
    assert keys("two", KEY) is None


def test_a_directory_that_cannot_be_written_costs_the_reason_only(start, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / FOLDER).write_text("no directory")
    assert start() == ("miss", None)
    assert start() == ("hit", None)


def test_an_entry_has_at_most_16_kb_and_the_directory_1024(keys):
    arguments = {f"example_inputs[{n}]": f"#{os.urandom(8).hex()}" for n in range(2_000)}
    configs = {f"inductor_config[{n}]": f"#{os.urandom(8).hex()}" for n in range(2_000)}
    keys("large", {**KEY, **arguments, **configs})
    assert (keys.directory / "large.key").stat().st_size <= MAX_BYTES
    assert keys("larger", {**KEY, "example_inputs[0]": "#c"}) == "arguments, config"
    for number in range(MAX_KEPT + 20):
        (keys.directory / f"k{number}.key").touch()
    keys("last", KEY)
    assert len(list(keys.directory.iterdir())) == MAX_KEPT + 1


def test_more_than_eight_differences_are_counted():
    known = {f"inductor_config[{n}]": "1" for n in range(20)}
    said = differences(known, dict.fromkeys(known, "2"))
    assert len(said) == MAX_DIFFERENCES + 1
    assert said[0] == "config `0` 1 → 2"
    assert said[-1] == "12 more"


def test_text_is_kept_as_digests_only(start, tmp_path):
    start(options={"cpp.cxx": (None, "/home/somebody/bin/g++")})
    (file,) = (tmp_path / "cache" / FOLDER).iterdir()
    *_, parts = json.loads(zlib.decompress(file.read_bytes()))
    assert "somebody" not in str(parts)
    assert parts["inductor_config[cpp.cxx]"].startswith("#")
    assert parts["cpp_runtime_thread_count"] == str(torch.get_num_threads())
    assert len(parts) > 400


def test_keys_travel_through_the_shared_cache(start, use, tmp_path, monkeypatch):
    cache = SharedCache(f"file://{tmp_path}/store")
    use("a")
    since_ns = time.time_ns()
    start()
    assert cache.publish(since_ns, 1.0).entries
    use("b")
    cache.fetch()
    assert start(is_grad=True) == ("miss", "grad mode False → True")


def test_a_store_with_entries_for_others_says_what_differs(
    start, use, tmp_path, monkeypatch, caplog
):
    cache = SharedCache(f"file://{tmp_path}/store")
    facts = namespace.facts()
    use("a")
    built()
    since_ns = time.time_ns()
    start()
    cache.publish(since_ns, 1.0)
    use("b")
    monkeypatch.setattr(namespace, "facts", lambda: {**facts, "threads": "77"})
    monkeypatch.setattr(known_keys, "elsewhere", None)
    with caplog.at_level(logging.INFO, logger="compilespan"):
        cache.fetch()
    assert f"has entries for others only: thread count {facts['threads']} → 77" in caplog.text
    assert start() == ("miss", f"thread count {facts['threads']} → 77")


def test_what_another_process_stores_during_the_compile_is_no_entry_that_is_gone(keys, monkeypatch):
    """Replicas that start together on one directory miss the same key."""
    before_ns = time.time_ns() - 10**9
    keys("one", KEY)
    monkeypatch.setenv("COMPILESPAN_INSTANCE_ID", "another")
    assert KnownKeys().why_missed(LookedUp("one", KEY, before_ns), "Model") is None


def test_a_compile_that_fails_leaves_no_key(start, tmp_path, monkeypatch):
    from torch._inductor.graph import GraphLowering

    def fail(_):
        raise RuntimeError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(GraphLowering, "compile_to_module", fail)
        with pytest.raises(Exception, match="no space left"):
            start()
    assert list((tmp_path / "cache").glob(f"{FOLDER}/*")) == []
    assert start() == ("miss", None)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "8 1 cpu False #abcdefghijklm",
            "9 1 cpu False #abxs3cdefghij",
            ["argument 0: size 8 → 9"],
        ),
        ("s0x8 8x1 cpu False #a", "3x8 8x1 cpu False #xs3", ["dynamic shapes True → False"]),
        ("8 1 cpu False #a", "8 1 cuda0 False #b", ["argument 0: device cpu → cuda0"]),
    ],
)
def test_letters_of_a_digest_are_no_sizes(old, new, said):
    known, wanted = ({"example_inputs[0]": f"float32 {each}", "gm": each} for each in (old, new))
    assert differences(known, wanted) == said


def test_drafts_of_processes_that_died_are_removed(keys):
    keys("one", KEY)
    old, new = keys.directory / ".a.key.1", keys.directory / ".b.key.2"
    for file in (old, new):
        file.touch()
    os.utime(old, (1, 1))
    keys("two", KEY)
    assert not old.exists()
    assert new.exists()


def test_keys_in_a_read_only_image_are_compared(keys, monkeypatch):
    keys("one", KEY)

    def refuse(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    assert keys("two", {**KEY, "cpp_runtime_thread_count": "4"}) == "thread count 8 → 4"
    assert [file.name for file in keys.directory.iterdir()] == ["one.key"]


def test_of_many_keys_the_nearest_has_the_graph_and_always_the_name(keys):
    keys("graph", {**KEY, "cpp_runtime_thread_count": "1"}, name="Other")
    assert keys("first", KEY) is None  # what another program left tells nothing
    keys("name", {**KEY, "cpp_runtime_thread_count": "2", "gm": "#y"})
    keys("both", {**KEY, "cpp_runtime_thread_count": "3"})
    (keys.directory / "first.key").unlink()
    assert keys("new", KEY) == "thread count 3 → 8"
