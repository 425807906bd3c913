"""``compilespan run``: real programs, their children, their signals and their terminal."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import textwrap
import time
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from compilespan_service.cli import statusline

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
    of_the_machine = {"CS060", "CS070"}  # a loaded one imports slowly, and has no CPU left
    codes = {finding["code"] for finding in figures["findings"]}
    assert codes - of_the_machine == {"CS010", "CS020"}


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
    assert re.search(r"used \d+\.\d of \d+\.\d GB of memory", said)


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
    assert "torch was imported in a Python without compilespan" in done.stderr
    assert "pip install compilespan" in done.stderr


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [("no-such-program", 127, "no such program"), ("/etc/passwd", 126, "Permission")],
)
def test_a_program_that_cannot_start(command, code, said):
    done = run(command)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_is_left_behind(tmp_path):
    run(sys.executable, "-c", "pass", TMPDIR=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_options_of_the_program_are_its_own(tmp_path):
    """Without --, and whatever they are called."""
    file = tmp_path / "figures.json"
    code = "import sys; print(sys.argv[1:])"
    given = ["--json", "x", "-o", "y", "--", "--trace", "--help", "-m"]
    done = subprocess.run(
        [*COMPILESPAN, "-o", str(file), sys.executable, "-c", code, *given],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"{given}\n"), done.stderr
    assert json.loads(file.read_text())["command"][-len(given) :] == given
    assert not (tmp_path / "y").exists()


def test_an_option_that_is_not_there_is_an_error():
    done = subprocess.run(
        [*COMPILESPAN, "--no-such-option", "true"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "--no-such-option" in done.stderr


@pytest.mark.parametrize("option", ["-o", "--json", "--trace"])
@pytest.mark.parametrize(
    ("place", "said"),
    [("missing/x", "there is no directory"), (".", "directory"), ("file/x", "irectory")],
)
def test_outputs_are_checked_before_the_program_starts(tmp_path, option, place, said):
    (tmp_path / "file").write_text("kept")
    done = run("touch", str(tmp_path / "started"), options=(option, str(tmp_path / place)))
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "started").exists()
    assert (tmp_path / "file").read_text() == "kept"


def test_two_outputs_to_one_file_are_an_error(tmp_path):
    path = str(tmp_path / "x.json")
    done = run("true", options=("-o", path, "--trace", path))
    assert done.returncode == 2
    assert "another output has the same path" in done.stderr


def test_the_document_is_valid_and_report_draws_the_same_table(two_models, tmp_path):
    _, seen, figures, _ = two_models
    schema = files("compilespan_service.capture").joinpath("start.schema.json").read_text()
    jsonschema.validate(figures, json.loads(schema))
    assert figures["schema"] == "urn:compilespan:schema:start:1"
    assert figures["command"][0] == sys.executable
    assert figures["versions"]["torch"]
    assert figures["host"]["cpus"] > 0
    path = tmp_path / "start.json"
    path.write_text(json.dumps(figures))
    again = subprocess.run(
        [*COMPILESPAN[:-1], "report", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "COLUMNS": "120"},
    )
    assert (
        again.stdout.splitlines()[:8]
        == seen.stderr[seen.stderr.index("compilespan ·") :].splitlines()[:8]
    )


@pytest.fixture
def everybodys():
    """A cache directory for a child of another user: torch makes it, whatever the backend."""
    if os.geteuid() != 0:
        pytest.skip("only a superuser starts children as another user")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o777)
        yield directory


def test_compiles_of_a_child_under_another_user_are_counted(tmp_path, everybodys):
    """A superuser's server that gives up its rights, as most do in a container."""
    file, said = tmp_path / "figures.json", tmp_path / "said"
    code = f"""
    import traceback
    # What torch and the journal need is imported by the parent: the child may read no module.
    torch.compile(VisionTower(), backend="eager")(torch.zeros(3))
    torch._dynamo.reset()
    time.sleep(1)
    said = open({str(said)!r}, "w")
    if os.fork() == 0:
        os.setuid(65534)
        try:
            torch.compile(VisionTower(), backend="eager")(torch.zeros(3))
        except BaseException:
            traceback.print_exc(file=said)
            raise
        sys.exit(0)
    print("ended with", os.wait()[1], file=said)
    """
    done = run(
        *program(tmp_path, code),
        options=("-o", str(file)),
        TORCHINDUCTOR_CACHE_DIR=str(everybodys),
    )
    assert done.returncode == 0, done.stderr
    assert said.read_text() == "ended with 0\n", done.stderr
    figures = json.loads(file.read_text())
    assert figures["totals"]["encoder"]["compiles"] == 2, done.stderr
    assert len({each["pid"] for each in figures["compiles"]}) == 2
    assert figures["unknown"] == []


def test_a_child_that_can_write_no_journal_is_named(tmp_path, everybodys):
    code = """
    torch.compile(lambda x: x, backend="eager")(torch.zeros(3))
    os.chmod(os.environ["COMPILESPAN_STATE_DIR"], 0o700)
    if os.fork() == 0:
        os.setuid(65534)
        torch.compile(VisionTower(), backend="eager")(torch.zeros(3))
        time.sleep(3)
        sys.exit(0)
    os.wait()
    """
    done = run(*program(tmp_path, code), TORCHINDUCTOR_CACHE_DIR=str(everybodys))
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"process \d+ \(python\S*\) ran as user \S+, and no journal of it was written", done.stderr
    )


def test_a_child_of_another_user_that_has_nothing_to_do_with_torch_is_not_named(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only a superuser starts children as another user")
    code = "import subprocess; subprocess.run(['sleep', '2.5'], user=65534, check=True)"
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    assert "ran as user" not in done.stderr


def test_a_journal_that_could_not_be_written_is_named(tmp_path):
    code = """
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, 150))
    """
    path = tmp_path / "full.py"
    path.write_text(
        textwrap.dedent(code) + HEAD + "torch.compile(Llama(), backend='eager')(torch.zeros(3))\n"
    )
    done = run(sys.executable, str(path))
    assert done.returncode == 0, done.stderr
    assert "its journal could not be written" in done.stderr
    assert "torch compiled nothing" not in done.stderr


def test_a_worker_that_outlives_its_launcher_is_named(tmp_path):
    code = """
    read, write = os.pipe()
    def begun(gm, example_inputs):
        os.write(write, b"begun")
        return slow(gm, example_inputs)
    if os.fork() == 0:
        sys.stdout = sys.stderr = open(os.devnull, "w")
        os.close(1), os.close(2)
        torch.compile(Llama(), backend=begun)(torch.zeros(3))
    os.read(read, 5)
    time.sleep(3)  # its journal has each second what compiles
    os._exit(0)
    """
    command = program(tmp_path, code)
    file = tmp_path / "figures.json"
    done = run(*command, options=("-o", str(file)))
    (cut_off,) = json.loads(file.read_text())["interrupted"]
    os.kill(cut_off["pid"], signal.SIGKILL)
    assert done.returncode == 0
    assert cut_off["is_running"]
    assert "Llama was still compiling (lowering) when the program ended" in done.stderr
    assert f"process {cut_off['pid']} still runs" in done.stderr


def test_a_line_each_so_often_where_nobody_sees_the_terminal(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(statusline.time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    line = statusline.status_line(stream)
    for second in range(100):
        clock[0] = 100.0 + second
        line.show(f"compiling for {second} s" if second > 10 else None)
    line.clear()
    assert stream.getvalue().splitlines() == [
        f"compiling for {second} s" for second in (30, 60, 90)
    ]


def test_a_log_that_nobody_reads_any_more_ends_nothing(monkeypatch):
    monkeypatch.setattr(statusline, "HEARTBEAT_S", 0.0)
    tried = []

    class Gone(io.StringIO):
        def write(self, text):
            tried.append(text)
            raise BrokenPipeError

    statusline.status_line(Gone()).show("x")
    assert tried == ["x\n"]


def test_torchs_dumps_are_linked_from_rows_and_findings(tmp_path):
    """With tlparse where it is installed: its part is played by a program that writes its pages."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "tlparse").write_text(
        f"#!{sys.executable}\n"
        "import pathlib, sys\n"
        "page = pathlib.Path(sys.argv[3], '-_0_1_0', 'compilation_metrics_7.html')\n"
        "page.parent.mkdir(parents=True)\n"
        "page.write_text('x')\n"
    )
    (tools / "tlparse").chmod(0o755)
    directory, file = tmp_path / "dumps", tmp_path / "figures.json"
    options = ("--tlparse", str(directory), "-o", str(file))
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    done = run(*program(tmp_path, TWO_MODELS), options=options, PATH=path)
    assert done.returncode == 7, done.stderr
    (log,) = directory.glob("dedicated_log_torch_trace_*.log")
    dumps = {each["compile_id"]: each["path"] for each in json.loads(file.read_text())["dumps"]}
    page = str(log.with_suffix("") / "-_0_1_0" / "compilation_metrics_7.html")
    assert dumps["0/1"] == page
    assert dumps["0/0"] == str(log.with_suffix("") / "index.html")
    assert done.stderr.count(page) == 2  # of its row, and of the recompile that was found


def test_without_tlparse_the_dumps_are_torchs_logs(tmp_path):
    done = run(
        *program(tmp_path, TWO_MODELS), options=("--tlparse", str(tmp_path / "d")), PATH="/bin"
    )
    (log,) = (tmp_path / "d").glob("*.log")
    assert f"0/0 {log}" in done.stderr
    assert "pip install tlparse" in done.stderr


def test_a_program_that_closes_descriptors_keeps_its_files_and_its_records(tmp_path):
    """What daemonises closes all it does not know; its next file gets our number."""
    code = """
    torch.compile(VisionTower(), backend="eager")(torch.zeros(3))
    time.sleep(0.5)
    os.closerange(3, 256)
    files = [open(f"{sys.argv[1]}/{n}.bin", "wb", buffering=0) for n in range(8)]
    torch.compile(lambda x: x + 1, backend="eager")(torch.zeros(3))
    time.sleep(0.5)
    for each in files:
        each.write(b"the user's data")
    """
    file = tmp_path / "figures.json"
    done = run(*program(tmp_path, code), str(tmp_path), options=("-o", str(file)))
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert {(tmp_path / f"{n}.bin").read_bytes() for n in range(8)} == {b"the user's data"}
    assert json.loads(file.read_text())["totals"]["total"]["compiles"] == 2


@pytest.mark.parametrize("how", ["2>&-", "2> >(true)"])
def test_an_error_stream_that_nobody_reads_changes_nothing(tmp_path, how):
    file = tmp_path / "figures.json"
    inner = f"{' '.join(COMPILESPAN)} -o {file} sh -c 'echo out; sleep 1; exit 3' {how}"
    done = subprocess.run(
        ["bash", "-c", inner], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (3, "out\n")
    assert json.loads(file.read_text())["exit_code"] == 3


def test_a_launcher_that_ends_before_its_worker_imports_torch(tmp_path):
    shell = f"setsid {sys.executable} -c 'import time; time.sleep(8)' >/dev/null 2>&1 & sleep 0.5"
    done = run("sh", "-c", shell)
    assert done.returncode == 0
    assert re.search(r"process \d+ still runs: what it compiles from now on", done.stderr)
    assert "saw no process" not in done.stderr


def test_a_state_directory_that_was_removed_is_named(tmp_path):
    code = """
    import shutil
    torch.compile(Llama(), backend="eager")(torch.zeros(3))
    time.sleep(0.5)
    shutil.rmtree(os.environ["COMPILESPAN_STATE_DIR"])
    """
    done = run(*program(tmp_path, code))
    assert done.returncode == 0, done.stderr
    assert "was removed: the records of the run are lost" in done.stderr
    assert "nothing" not in done.stderr


def test_a_sitecustomize_that_raises_costs_nothing(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("raise RuntimeError('mine')\n")
    code = """
    torch.compile(Llama(), backend="eager")(torch.zeros(3))
    """
    done = run(*program(tmp_path, code), PYTHONPATH=str(tmp_path))
    assert done.returncode == 0
    assert "mine" in done.stderr  # as Python says it without us
    assert "Llama" in done.stderr


def test_sigusr1_in_the_first_compile_says_what_compiles(tmp_path):
    child = start(program(tmp_path, "torch.compile(Llama(), backend=slow)(torch.zeros(3))"))
    assert child.stdout.readline() == "compiling\n"
    time.sleep(1.5)
    child.send_signal(signal.SIGUSR1)
    line = child.stderr.readline()
    while "Llama" not in line:
        assert "nothing" not in line
        line = child.stderr.readline()
    assert "● Llama is compiling (lowering) for" in line
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=20)


def test_an_exit_code_is_not_lost_where_ended_children_are_ignored(tmp_path):
    done = subprocess.run(
        [*COMPILESPAN, "sh", "-c", "exit 3"],
        capture_output=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    )
    assert done.returncode == 3


def test_a_pipe_and_a_link_are_outputs_as_they_are(tmp_path):
    pipe, link = tmp_path / "pipe", tmp_path / "link.json"
    os.mkfifo(pipe)
    link.symlink_to("target.json")
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True)
    done = run("true", options=("-o", str(pipe), "-o", str(link)))
    assert done.returncode == 0, done.stderr
    assert json.loads(reader.communicate(timeout=20)[0])["exit_code"] == 0
    assert link.is_symlink()
    assert json.loads((tmp_path / "target.json").read_text())["exit_code"] == 0


def test_standard_output_is_the_programs():
    done = run("true", options=("-o", "-"))
    assert done.returncode == 2
    assert "standard output belongs to the program" in done.stderr


def test_who_only_asks_whether_torch_is_there_is_not_instrumented(tmp_path):
    code = (
        "import importlib.util, sys; importlib.util.find_spec('torch'); "
        "print('compilespan' in sys.modules)"
    )
    done = run(sys.executable, "-c", code)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
    assert "saw no process import torch" in done.stderr


def test_after_the_program_signals_end_what_remains(tmp_path):
    """Whoever does not want to wait for tlparse gets torch's logs."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "tlparse").write_text("#!/bin/sh\nsleep 50\n")
    (tools / "tlparse").chmod(0o755)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    child = subprocess.Popen(
        [*COMPILESPAN, "--tlparse", str(tmp_path / "d"), *program(tmp_path, TWO_MODELS)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PATH": path},
    )
    line = child.stderr.readline()
    while "tlparse is making pages" not in line:
        assert line
        line = child.stderr.readline()
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=20)
    assert child.returncode == 7
    assert "VisionTower" in said
    assert ".log" in said
