"""Findings: a program, what is found in it first, and that it is gone after the fix."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch._dynamo.utils import dynamo_timed

from compilespan import WarmupTarget, get_ledger, mark_ready, monitor_torch_compile, warm
from compilespan.findings import finders
from compilespan.findings.explained import codes, explained
from compilespan.findings.finders import FINDERS, findings
from compilespan.findings.finding import EagerItem, Evidence, Finding
from compilespan.findings.grouping import folded
from compilespan.findings.recompiles import fix_of
from compilespan.ledger.entries import Mark
from compilespan.ledger.records import CompileEvent
from compilespan.ledger.segments import Doer
from compilespan.ledger.start import Start
from compilespan.ledger.totals import TotalsBuilder
from support import record, since_torch

PACKAGE = Path(finders.__file__).parent


def found(**fields):
    return findings(Evidence(get_ledger().records(), **fields))


def again():
    """Forget what is compiled and recorded: the next program is a new one."""
    torch._dynamo.reset()
    get_ledger().renew()


def compiled(function, **options):
    return torch.compile(function, backend="eager", **options)


# Programs: each with a flag that applies the fix


def sizes(*, fixed):
    def step(ids):
        return ids.cos()

    function = compiled(step)
    for size in (16, 17, 18):
        ids = torch.zeros(2, size)
        if fixed:
            torch._dynamo.mark_dynamic(ids, 1)
        function(ids)


def sizes_of_a_static_program(*, fixed):
    function = compiled(lambda ids: ids.sin(), dynamic=None if fixed else False)
    for size in (3, 4, 5):
        ids = torch.zeros(size)
        if fixed:
            torch._dynamo.mark_dynamic(ids, 0)
        function(ids)


def values(*, fixed):
    def step(x, scale):
        return x * scale

    function = compiled(step)
    for scale in (0.5, 0.25):
        function(torch.ones(3), torch.tensor(scale) if fixed else scale)


def flags(*, fixed):
    def step(x, mode):
        return x + 1 if mode == "a" else x - 1

    function = compiled(step)
    for mode in ("a", "a" if fixed else "b"):
        function(torch.ones(3), mode)


class Counting(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.steps = 0

    def forward(self, x):
        return x + self.steps


def attributes(*, fixed):
    module = Counting()
    if fixed:
        module.steps = torch.tensor(0)
    function = compiled(module)
    for _ in range(4):
        module.steps += 2
        function(torch.ones(3))


def grad_modes(*, fixed):
    """It is warmed up under one mode, and then called as serving calls it."""
    function = compiled(lambda x: x.exp())
    x = torch.zeros(3)
    with torch.inference_mode(fixed):
        function(x)
    with torch.inference_mode():
        function(x)


def thread_counts(*, fixed):
    before = torch.get_num_threads()
    function = compiled(lambda x: x.tan())
    try:
        torch.set_num_threads(1)
        function(torch.zeros(3))
        torch.set_num_threads(1 if fixed else 2)
        function(torch.zeros(3))
    finally:
        torch.set_num_threads(before)


def dtypes(*, fixed):
    function = compiled(lambda x: x * 3)
    for dtype in (torch.float32, torch.float64):
        x = torch.ones(3, dtype=dtype)
        function(x.float() if fixed else x)


def types(*, fixed):
    function = compiled(lambda x, bias: x * 2 if bias is None else x + bias)
    function(torch.ones(3), torch.zeros(3))
    function(torch.ones(3), torch.zeros(3) if fixed else None)


def global_states(*, fixed):
    function = compiled(lambda x: x @ x)
    function(torch.ones(3, 3))
    torch.use_deterministic_algorithms(not fixed)
    try:
        function(torch.ones(3, 3))
    finally:
        torch.use_deterministic_algorithms(False)  # torch's own


def over_the_limit(*, fixed):
    with torch._dynamo.config.patch(recompile_limit=16 if fixed else 2):
        function = compiled(lambda x: x.erf(), dynamic=False)
        for size in range(2, 6):
            function(torch.zeros(size))


def breaks(*, fixed):
    def step(x):
        x = x + 1
        if not fixed:
            torch._dynamo.graph_break()
        return x * 2

    compiled(step)(torch.ones(3))


def prints(*, fixed):
    def step(x):
        x = x + 1
        print("step")  # noqa: T201  # what is found
        return x * 2

    logging = {print} if fixed else set()
    with torch._dynamo.config.patch(reorderable_logging_functions=logging):
        compiled(step)(torch.ones(3))


def gives_back(*, fixed):
    @torch.compiler.disable
    def helper(x):
        return [x]

    def step(x):
        return x + 1 if fixed else helper(x)

    compiled(step)(torch.ones(3))


def fails(*, fixed):
    def backend(graph_module, _):
        if fixed:
            return graph_module.forward
        raise RuntimeError("no kernel")

    with suppress(Exception):
        torch.compile(lambda x: x + 1, backend=backend)(torch.ones(3))


def fails_to_load(*, fixed):
    with suppress(ValueError), monitor_torch_compile("artefact", kind="load"):
        if not fixed:
            raise ValueError


def serves(*, fixed):
    function = compiled(lambda x: x.sqrt())
    if fixed:
        function(torch.ones(3))
    mark_ready()
    function(torch.ones(3))


def tunes(*, fixed):
    """There is no GPU here: torch's own timer, without a kernel."""
    if not fixed:
        with dynamo_timed("CachingAutotuner.benchmark_all_configs"):
            time.sleep(1.1)


def builds_kernels(*, fixed):
    """The second start finds the cache directory of the first; so many that any machine waits."""
    function = torch.compile(lambda *all_: [(each * 7.5).sin().cumsum(0) for each in all_])
    function(*(torch.zeros(64, size) for size in range(3, 15)))


def does_not_store(*, fixed):
    own_pass = None if fixed else lambda graph: None
    with torch._inductor.config.patch(post_grad_custom_pre_pass=own_pass):
        torch.compile(lambda x: (x * 5.25).cos())(torch.zeros(5))


PROGRAMS = [
    (sizes, "CS010"),
    (sizes_of_a_static_program, "CS010"),
    (values, "CS011"),
    (flags, "CS011"),
    (attributes, "CS011"),
    (grad_modes, "CS012"),
    (thread_counts, "CS013"),
    (dtypes, "CS014"),
    (types, "CS015"),
    (global_states, "CS016"),
    (over_the_limit, "CS003"),
    (breaks, "CS020"),
    (prints, "CS020"),
    (gives_back, "CS021"),
    (fails, "CS001"),
    (fails_to_load, "CS002"),
    (serves, "CS050"),
    (tunes, "CS032"),
    pytest.param(
        *(builds_kernels, "CS031"), marks=since_torch("2.10", "the C++ compiler has no event")
    ),
    (does_not_store, "CS030"),
]


@pytest.mark.parametrize(
    ("program", "code"), PROGRAMS, ids=lambda value: getattr(value, "__name__", value)
)
def test_it_is_found_first_and_gone_after_the_fix(instrumented, program, code):
    program(fixed=False)
    first = found()[0]
    assert first.code == code
    assert first.count >= 1
    assert first.evidence
    assert first.fix
    assert first.seconds >= 0
    again()
    program(fixed=True)
    assert code not in [each.code for each in found()]


def test_the_size_that_changed_is_named_with_its_dimension_line_and_fixes(instrumented):
    sizes(fixed=False)
    (finding,) = found()
    assert finding.what.endswith("step compiled again once: dimension 1 of `ids` changed")
    assert "TORCH_COMPILE_DYNAMIC_SOURCES=\"L['ids']\"" in finding.fix
    assert "mark_dynamic(ids, 1)" in finding.fix
    assert finding.file == __file__
    assert finding.line == sizes.__code__.co_firstlineno + 1
    (recompile,) = [each for each in get_ledger().records() if each.is_recompile]
    assert finding.seconds == recompile.duration_s
    assert finding.link.startswith("https://")


DYNAMIC = """
import torch
from compilespan import TorchCompileInstrumentor, get_ledger
TorchCompileInstrumentor().instrument()
def step(ids):
    return ids.cos()
function = torch.compile(step, backend="eager")
for size in (16, 17, 18):
    function(torch.zeros(2, size))
print(get_ledger().totals().total.compiles)
"""


def test_the_fix_that_changes_no_code_is_one(tmp_path):
    def compiles(**env):
        done = subprocess.run(
            [sys.executable, "-c", DYNAMIC],
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return int(done.stdout)

    assert compiles() == 2
    assert compiles(TORCH_COMPILE_DYNAMIC_SOURCES="L['ids']") == 1


def test_an_integer_of_a_module_compiles_once_more_and_then_no_more(instrumented):
    attributes(fixed=False)
    (before,) = found()
    assert before.count == 3
    assert before.fix.startswith("torch._dynamo.config.allow_unspec_int_on_nn_module = True")
    again()
    with torch._dynamo.config.patch(allow_unspec_int_on_nn_module=True):
        attributes(fixed=False)
    assert [each.count for each in found()] == [1]


def test_the_place_hint_and_link_of_a_graph_break_are_torchs(instrumented):
    prints(fixed=False)
    finding = next(each for each in found() if each.code == "CS020")
    assert finding.file == __file__
    assert finding.line == prints.__code__.co_firstlineno + 3
    assert finding.link.startswith("https://")
    assert "print" in finding.evidence
    assert "reorderable_logging_functions" in finding.fix


def test_the_break_that_gave_a_frame_back_is_one_finding(instrumented):
    gives_back(fixed=False)
    assert [each.code for each in found()] == ["CS021"]


def test_a_hundred_recompiles_of_one_guard_are_one_finding():
    guard = "tensor 'x' size mismatch at index 0. expected"
    records = [
        record(
            is_recompile=True,
            recompile_reason=f"0/{number}: {guard} {number}, actual 9",
            duration_ns=10**9,
        )
        for number in range(100)
    ]
    (finding,) = findings(Evidence(records))
    assert (finding.count, finding.seconds) == (100, pytest.approx(100.0))


def test_failures_and_limits_come_before_what_costs_more():
    records = [
        record(is_recompile=True, recompile_reason="0/0: n == 3", duration_ns=900 * 10**9),
        record(outcome="failed", error_type="ValueError", duration_ns=10**6),
        record(recompile_limit_hit=True, recompile_reason="0/0: n == 3", duration_ns=10**6),
    ]
    assert [each.code for each in findings(Evidence(records))] == ["CS001", "CS003", "CS011"]


def held(records, **fields):
    return Evidence(records, **{"cpus": 2, "compile_threads": 2, **fields})


def test_waiting_for_a_cpu_is_found_with_processes_and_cpus():
    records = [
        record(duration_ns=10 * 10**9, cpu_s=1.0, cpu_wait_s=9.0, pid=pid) for pid in (1, 2, 3)
    ]
    (finding,) = [each for each in findings(held(records)) if each.code == "CS060"]
    assert finding.what == "waited 90% of 30.0 s for a CPU"
    assert finding.evidence == "3 processes compiled on 2 CPUs"
    assert finding.seconds == 27.0
    idle = [record(duration_ns=10 * 10**9, cpu_s=9.0, cpu_wait_s=0.5)]
    assert [each.code for each in findings(Evidence(idle))] == []
    unknown = [record(duration_ns=10 * 10**9)]
    assert findings(Evidence(unknown)) == []


def test_a_quota_that_holds_them_back_and_threads_beyond_it_are_said():
    records = [record(duration_ns=10 * 10**9, cpu_s=1.0, cpu_wait_s=9.0)]
    (finding,) = findings(held(records, cpus=1.5, compile_threads=32, throttled_s=7.25))
    assert finding.evidence == (
        "1 process compiled on 1.5 CPUs; their cgroup was throttled for 7.2 s (cpu.stat); "
        "inductor builds kernels with up to 32 threads"
    )
    (finding,) = findings(held(records, cpus=1.5, compile_threads=2, throttled_s=0.0))
    assert finding.evidence == "1 process compiled on 1.5 CPUs"


def cached(result, key="k", **fields):
    event = CompileEvent(
        "torch.compile.graph",
        1,
        {"torch.compile.cache.result": result, "torch.compile.cache.key": key},
    )
    counts = {
        "cache_hits": int(result == "hit"),
        "cache_misses": int(result == "miss"),
        "cache_result": result,
    }
    return record(**{"events": (event,), "graphs": 1, "is_recompile": False, **counts, **fields})


def test_what_several_processes_compiled_alike_is_found_and_what_differs_is_not():
    alike = [cached("miss", pid=pid, duration_ns=10 * 10**9) for pid in (1, 2, 3)]
    (finding,) = [each for each in findings(Evidence(alike)) if each.code == "CS040"]
    assert (finding.count, finding.seconds) == (3, 20.0)
    apart = [cached("miss", key=str(pid), pid=pid) for pid in (1, 2, 3)]
    assert "CS040" not in [each.code for each in findings(Evidence(apart))]


def test_a_cache_that_is_gone_is_found_by_the_keys_of_earlier_starts():
    missed = [cached("miss", key=key, duration_ns=10 * 10**9) for key in ("a", "b", "new")]
    (finding,) = [
        each for each in findings(Evidence(missed, earlier_keys={"a", "b"})) if each.code == "CS034"
    ]
    assert (finding.count, finding.seconds) == (2, 20.0)
    assert "CS034" not in [each.code for each in findings(Evidence(missed))]
    hits = [cached("hit", key="a")]
    assert "CS034" not in [each.code for each in findings(Evidence(hits, earlier_keys={"a"}))]


def test_a_rank_that_missed_what_the_others_had_is_found():
    ranks = [cached("hit", pid=pid, duration_ns=10**9) for pid in (1, 2, 3)]
    late = cached("miss", pid=9, duration_ns=41 * 10**9)
    assert late.start_ns == ranks[0].start_ns  # they began at once
    (finding,) = [each for each in findings(Evidence([*ranks, late])) if each.code == "CS041"]
    assert (finding.count, finding.seconds) == (1, 41.0)
    assert "process 9 compiled for 41.0 s" in finding.evidence
    assert "CS041" not in [each.code for each in findings(Evidence(ranks))]


def test_one_that_warms_up_before_the_others_is_as_it_should_be():
    first = cached("miss", pid=1, start_ns=0, duration_ns=10 * 10**9)
    others = [cached("hit", pid=pid, start_ns=20 * 10**9, duration_ns=10**9) for pid in (2, 3)]
    assert findings(Evidence([first, *others])) == []


def test_tuning_although_all_graphs_came_from_the_cache_is_another_finding():
    tuned = record(kind="kernel", trigger="autotune", duration_ns=3 * 10**9, is_recompile=False)
    warm_ = findings(Evidence([cached("hit"), tuned]))
    cold = findings(Evidence([cached("miss"), tuned]))
    off = findings(Evidence([cached("bypass"), tuned]))
    none = findings(Evidence([tuned]))
    assert [each.code for each in warm_] == ["CS033"]
    assert [each.code for each in cold] == ["CS032"]
    assert "CS033" not in [each.code for each in (*off, *none)]


def test_tensors_and_dimensions_are_told_apart_and_values_are_not():
    sizes = "tensor 'x{}' size mismatch at index {}. expected 2, actual 3"
    guards = [
        *(sizes.format(number, dim) for number in (1, 2) for dim in (0, 1)),
        *(f"mode == '{letter}'" for letter in "abcdefg"),
    ]
    records = [record(is_recompile=True, recompile_reason=f"0/0: {guard}") for guard in guards]
    found_ = findings(Evidence(records))
    assert sorted(each.count for each in found_) == [1, 1, 1, 1, 7]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("ids", "L['ids']"),
        ("self.x", "L['self'].x"),
        ("kwargs['ids']", "L['kwargs']['ids']"),
        ("L['ids']", "L['ids']"),
    ],
)
def test_the_source_of_a_tensor_is_named_as_dynamo_names_it(name, source):
    guard = f"tensor '{name}' size mismatch at index 1. expected 16, actual 17"
    assert f'TORCH_COMPILE_DYNAMIC_SOURCES="{source}"' in fix_of(guard)


def test_a_size_of_one_is_compiled_apart_and_no_fix_is_promised():
    guard = "tensor 'x' size mismatch at index 0. expected 4, actual 1"
    assert "DYNAMIC_SOURCES" not in fix_of(guard)


def test_a_limit_that_raises_and_a_skipped_compile_while_serving_are_one_finding_each():
    over = record(outcome="failed", error_type="X", recompile_limit_hit=True, phase="serving")
    skipped = record(outcome="skipped", phase="serving", skip_reason="why", is_recompile=True)
    limit, given = findings(Evidence([over, skipped]))
    assert (limit.code, given.code) == ("CS003", "CS021")
    assert limit.what.endswith("new variants fail")


def test_a_recompile_while_serving_is_one_finding_with_both_fixes():
    reason = "0/0: tensor 'x' size mismatch at index 0. expected 3, actual 4"
    served = record(is_recompile=True, recompile_reason=reason, phase="serving", request="POST /x")
    (finding,) = findings(Evidence([served]))
    assert finding.code == "CS050"
    assert "target's shapes" in finding.fix
    assert "TORCH_COMPILE_DYNAMIC_SOURCES" in finding.fix


def test_a_record_that_lies_about_its_cpu_divides_nothing_by_zero():
    lies = [record(duration_ns=0, cpu_s=0.0, cpu_wait_s=5.0)]
    assert "CS060" not in [each.code for each in findings(Evidence(lies))]


def test_imports_that_took_long_are_found():
    marks = [
        Mark("import", 0, 8 * 10**9, "vllm"),
        Mark("import", 10 * 10**9, 16 * 10**9, "vllm"),
        Mark("import", 16 * 10**9, 17 * 10**9, "torch"),
    ]
    start = Start.of(0, 20 * 10**9, [Doer(marks, {})])
    (finding,) = findings(Evidence([], start))
    assert (finding.code, finding.count, finding.seconds) == ("CS070", 2, 14.0)
    assert finding.what == "importing vllm took 14.0 s"


def test_imports_inside_a_compile_are_found():
    marks = [
        Mark("import", 0, 4 * 10**9, "torch"),
        Mark("import", 11 * 10**9, 13 * 10**9, "torch"),
        Mark("import", 13 * 10**9, 14 * 10**9, "triton"),
        Mark("import", 19 * 10**9, 21 * 10**9, "late"),
    ]
    builder = TotalsBuilder()
    builder.add(record(start_ns=10 * 10**9, duration_ns=10 * 10**9))
    start = Start.of(0, 30 * 10**9, [Doer(marks, builder.intervals)])
    assert start.inside_s == {"torch": 2.0, "triton": 1.0, "late": 1.0}
    (finding,) = [each for each in findings(Evidence([], start)) if each.code == "CS071"]
    assert (finding.seconds, finding.count) == (4.0, 3)
    assert finding.what == "importing torch, triton, late inside a compile took 4.0 s"
    assert finding.evidence == "torch 2.0 s, triton 1.0 s, late 1.0 s"
    many = [Mark("import", at * 10**9, (at + 1) * 10**9, f"p{at}") for at in range(11, 17)]
    start = Start.of(0, 30 * 10**9, [Doer(many, builder.intervals)])
    (finding,) = [each for each in findings(Evidence([], start)) if each.code == "CS071"]
    assert " and 2 more inside a compile took 6.0 s" in finding.what
    assert finding.evidence.endswith(" and 2 more")
    elsewhere = Start.of(0, 30 * 10**9, [Doer(marks, {}), Doer((), builder.intervals)])
    assert elsewhere.inside_s == {}


def test_items_that_run_eager_are_found_in_the_result_of_a_warmup(instrumented):
    plain = torch.nn.Linear(2, 2)
    result = warm([WarmupTarget("plain", lambda _: plain(torch.zeros(1, 2)), [{}])])
    (finding,) = result.findings
    assert (finding.code, finding.name, finding.is_serious) == ("CS080", "plain", True)
    again()
    fixed = compiled(plain)
    result = warm([WarmupTarget("plain", lambda _: fixed(torch.zeros(1, 2)), [{}])])
    assert result.findings == ()
    two = [EagerItem("t", "{}", "why"), EagerItem("t", "{1}", "why")]
    assert findings(Evidence([], eager=two))[0].count == 2


def test_a_finder_that_fails_costs_its_finding_and_nothing_else(monkeypatch):
    def broken(_):
        raise ZeroDivisionError

    monkeypatch.setattr(finders, "FINDERS", (broken, *FINDERS))
    records = [record(outcome="failed", error_type="ValueError")]
    assert [each.code for each in findings(Evidence(records))] == ["CS001"]


def test_nothing_is_found_where_nothing_is_wrong():
    assert findings(Evidence([])) == []
    assert findings(Evidence([cached("hit")])) == []


# Codes


def test_every_code_has_a_page_and_every_page_a_code():
    used = {
        code for path in PACKAGE.glob("*.py") for code in re.findall(r"CS\d{3}", path.read_text())
    }
    assert used == set(codes())
    runbook = Path(__file__).parents[2] / "docs/runbook.md"
    assert re.findall(r"^## (CS\d{3}): ", runbook.read_text("utf-8"), re.MULTILINE) == codes()


@pytest.mark.parametrize("code", codes())
def test_a_page_says_what_it_is_and_what_to_do(code):
    page = explained(code)
    assert page.startswith(f"# {code}: ")
    assert "\n## What it is\n" in page
    assert "\n## What to do\n" in page


def test_there_is_no_page_of_another_name():
    for name in ("CS999", "README", "../finding", ""):
        assert explained(name) is None


def test_numbers_and_ids_are_folded():
    text = "n == 17, mode == 'a', id 0x7f12ab, expected 3, actual 4 at index 1"
    assert folded(text) == "n == N, mode == N, id N, expected N, actual N at index 1"


def test_a_finding_is_plain_data():
    finding = Finding("CS001", "what", 1.0, 1, "evidence", "fix")
    assert dataclasses.asdict(finding)["link"] == ""
