"""``compilespan run``: real programs, their children, their signals and their terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import time

import pytest

pytestmark = pytest.mark.system

COMPILESPAN = [sys.executable, "-m", "compilespan_service.cli", "run"]
HEAD = """
import os, sys, time, torch
class VisionTower(torch.nn.Module):
    def forward(self, x):
        return x * 2
class Llama(torch.nn.Module):
    def forward(self, x):
        y = x * 2
        print("side effect", flush=True)
        return y + 1
def slow(gm, _):
    print("compiling", flush=True)
    time.sleep(60)
    return gm.forward
"""


def program(tmp_path, code):
    path = tmp_path / "program.py"
    path.write_text(HEAD + textwrap.dedent(code))
    return [sys.executable, str(path)]


def run(*command, options=(), timeout=120, **env):
    return subprocess.run(
        [*COMPILESPAN, *options, "--", *command],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **env},
    )


TWO_MODELS = """
tower = torch.compile(VisionTower(), backend="eager")
tower(torch.zeros(3))
tower(torch.zeros(4))
torch.compile(Llama(), backend="eager")(torch.zeros(3))
print("out"); print("err", file=sys.stderr)
sys.exit(7)
"""


@pytest.fixture(scope="module")
def two_models(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    command = program(directory, TWO_MODELS)
    plain = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    files = directory / "figures.json", directory / "trace.json"
    options = ("--json", str(files[0]), "--trace", str(files[1]))
    seen = run(*command, options=options)
    return plain, seen, *(json.loads(path.read_text()) for path in files)


def test_output_and_exit_code_are_the_programs_own(two_models):
    plain, seen, *_ = two_models
    assert seen.stdout == plain.stdout
    assert seen.returncode == plain.returncode == 7
    assert seen.stderr.startswith(plain.stderr)


def test_the_table_says_what_compiled_and_why_again(two_models):
    said = two_models[1].stderr
    lines = {line.split()[0]: line.split() for line in said.splitlines() if line.strip()}
    assert lines["VisionTower"][1] == "encoder"
    assert lines["Llama"][1:3] == ["language", "model"]
    assert " · a start without a cache" in said
    assert "VisionTower compiled again once: dimension 0 of `x` changed" in said
    assert "TORCH_COMPILE_DYNAMIC_SOURCES=\"L['x']\"" in said
    assert "(CS010)" in said
    breaks = HEAD.splitlines().index('        print("side effect", flush=True)') + 1
    (line,) = [line for line in said.splitlines() if f"program.py:{breaks}" in line]
    assert "1 graph break in Llama" in line
    assert "Failed to trace builtin operator" in said
    assert "compile-graph-break-site" in said


def test_json_has_all_figures(two_models):
    figures = two_models[2]
    assert figures["exit_code"] == 7
    assert len(figures["compiles"]) == figures["totals"]["total"]["compiles"] == 4
    assert figures["totals"]["encoder"]["recompiles"] == 1
    assert figures["wall_s"] >= figures["totals"]["total"]["wall_s"] > 0
    assert figures["interrupted"] == []
    assert figures["cache"] == "no cache"
    assert {finding["code"] for finding in figures["findings"]} == {"CS010", "CS020"}


def test_the_trace_has_a_slice_for_each_compile(two_models):
    _, _, figures, trace = two_models
    slices = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert {each["name"] for each in slices if each["cat"] == "stage"} >= {"trace", "lower"}
    slices = [each for each in slices if each["cat"] != "stage"]
    assert [each["dur"] for each in slices] == [
        record["duration_ns"] / 1000 for record in figures["compiles"]
    ]
    assert {each["cat"] for each in slices} == {"encoder", "language_model"}
    for event in trace["traceEvents"]:
        assert isinstance(event["pid"], int)


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_children_are_counted(tmp_path, method):
    code = f"""
    import multiprocessing
    def work(size):
        torch.compile(VisionTower(), backend="eager", dynamic=False)(torch.zeros(size))
        time.sleep(0.5)
    if __name__ == "__main__":
        work(3)
        with multiprocessing.get_context("{method}").Pool(2) as pool:
            pool.map(work, (4, 5), chunksize=1)
            pool.close()
            pool.join()
    """
    file = tmp_path / "figures.json"
    done = run(*program(tmp_path, code), options=("--json", str(file)))
    assert done.returncode == 0, done.stderr
    figures = json.loads(file.read_text())
    pids = {record["pid"] for record in figures["compiles"]}
    assert len(pids) == 3
    assert figures["totals"]["total"]["compiles"] == 3
    assert set(figures["totals"]["by_process"]) == {str(pid) for pid in pids}


def test_workers_of_a_data_loader_are_counted(tmp_path):
    code = """
    class Data(torch.utils.data.Dataset):
        def __len__(self):
            return 2
        def __getitem__(self, index):
            torch.compile(VisionTower(), backend="eager")(torch.zeros(3 + index))
            return index
    if __name__ == "__main__":
        print(list(torch.utils.data.DataLoader(Data(), num_workers=2)))
    """
    file = tmp_path / "figures.json"
    done = run(*program(tmp_path, code), options=("--json", str(file)))
    assert done.returncode == 0, done.stderr
    assert len({record["pid"] for record in json.loads(file.read_text())["compiles"]}) == 2


def start(command, **options):
    return subprocess.Popen(
        [*COMPILESPAN, "--", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_a_program_that_dies_while_compiling_is_told(tmp_path):
    code = """
    print(os.getpid(), flush=True)
    torch.compile(Llama(), backend=slow)(torch.zeros(3))
    """
    child = start(program(tmp_path, code))
    pid = int(child.stdout.readline())
    assert child.stdout.readline() == "compiling\n"
    time.sleep(1.5)
    os.kill(pid, signal.SIGKILL)
    _, said = child.communicate(timeout=20)
    assert child.returncode == -signal.SIGKILL
    assert f"Llama was still compiling (lowering) when process {pid} died" in said
    assert re.search(r"had \d+\.\d of \d+\.\d GB of memory", said)


def test_sigterm_reaches_the_program_and_its_answer_is_ours(tmp_path):
    code = """
    import signal
    def end(*_):
        print("ending", flush=True)
        sys.exit(5)
    signal.signal(signal.SIGTERM, end)
    print("up", flush=True)
    time.sleep(60)
    """
    child = start(program(tmp_path, code))
    assert child.stdout.readline() == "up\n"
    child.send_signal(signal.SIGTERM)
    out, _ = child.communicate(timeout=20)
    assert (out, child.returncode) == ("ending\n", 5)


def test_death_by_a_signal_is_ours_too(tmp_path):
    child = start(program(tmp_path, "print('up', flush=True); time.sleep(60)"))
    assert child.stdout.readline() == "up\n"
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=20)
    assert child.returncode == -signal.SIGTERM


def test_sigusr1_prints_the_table_and_the_program_goes_on(tmp_path):
    code = """
    torch.compile(VisionTower(), backend="eager")(torch.zeros(3))
    print("compiled", flush=True)
    input()
    print("went on", flush=True)
    """
    child = start(program(tmp_path, code), stdin=subprocess.PIPE)
    assert child.stdout.readline() == "compiled\n"
    child.send_signal(signal.SIGUSR1)
    for line in child.stderr:
        if "VisionTower" in line:
            break
    out, _ = child.communicate("\n", timeout=20)
    assert (out, child.returncode) == ("went on\n", 0)


def test_on_a_terminal_a_line_shows_what_compiles_and_goes_away(tmp_path):
    code = """
    def short(gm, _):
        time.sleep(2)
        return gm.forward
    torch.compile(VisionTower(), backend=short)(torch.zeros(3))
    print("a terminal:", sys.stdout.isatty())
    """
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    child = subprocess.Popen(
        [*COMPILESPAN, "--", *program(tmp_path, code)],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(follower)
    os.set_blocking(leader, False)
    screen = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([leader], [], [], 0.1)[0]:
            try:
                screen += os.read(leader, 65536)
            except OSError:  # the other side is closed
                break
        elif child.poll() is not None:
            break
    os.close(leader)
    assert child.wait(20) == 0
    text = screen.decode()
    assert "a terminal: True" in text
    assert "\033[1;23r" in text  # the program scrolls in the rows above
    assert "compilespan: VisionTower (encoder) compiling for" in text
    assert text.rindex("\033[r") > text.rindex("compiling for")


def test_a_program_without_torch_is_told(tmp_path):
    done = run(sys.executable, "-c", "print('hi')")
    assert (done.returncode, done.stdout) == (0, "hi\n")
    assert "saw no process import torch" in done.stderr


def test_the_environments_own_sitecustomize_still_runs(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.mine = 5\n")
    done = run(sys.executable, "-c", "import sys; print(sys.mine)", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "5\n"), done.stderr


def test_a_python_without_compilespan_is_told_and_runs(tmp_path):
    """Its import of torch goes on; the reader hears what to install, and where."""
    (tmp_path / "compilespan").mkdir()
    (tmp_path / "compilespan" / "__init__.py").write_text("raise ImportError('not here')\n")
    (tmp_path / "torch.py").write_text("print('torch')\n")
    shell = f'PYTHONPATH="$PYTHONPATH:{tmp_path}" {sys.executable} -c "import torch"'
    done = run("sh", "-c", shell)
    assert (done.returncode, done.stdout) == (0, "torch\n")
    assert "torch ran in a Python without compilespan" in done.stderr
    assert "pip install compilespan" in done.stderr


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [("no-such-program", 127, "there is no such program"), ("/etc/passwd", 126, "Permission")],
)
def test_a_program_that_cannot_start(command, code, said):
    done = run(command)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_is_left_behind(tmp_path):
    run(sys.executable, "-c", "pass", TMPDIR=str(tmp_path))
    assert list(tmp_path.iterdir()) == []
