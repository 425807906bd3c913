"""The commands of README and docs run as they are written, in the order of their page."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import metadata, version
from itertools import pairwise
from pathlib import Path

import pytest
from server import free_port

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = {
    page.relative_to(ROOT).as_posix(): blocks
    for page in PAGES
    if (blocks := re.findall(r"```console\n(.*?)```", page.read_text("utf-8"), re.DOTALL))
}
PROJECT = metadata("compilespan")
# What the pages call the reader's own program and factory.
FILES = {
    "serve.py": """
import torch
torch.compile(torch.nn.Linear(4, 4), backend="eager")(torch.zeros(2, 4))
""",
    "mymodels.py": """
import torch
from compilespan import WarmupTarget

def targets():
    model = torch.compile(torch.nn.Linear(4, 4), backend="eager")
    return [WarmupTarget("linear", lambda shape: model(torch.zeros(2, 4)), [{}])]
""",
}


class Shell:
    """Runs the commands of one page in a directory of their own, each kind in its own way."""

    def __init__(self, directory, port):
        self.directory, self.port = directory, port
        self.servers = []
        self.env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "COMPILESPAN_STATE_DIR": str(directory / "state"),
        }

    def run(self, line):
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        if "&&" in words:  # git clone … && cd compilespan
            words = words[: words.index("&&")]
        kind = getattr(self, "_" + Path(words[0]).name.replace("-", "_"), None)
        assert kind, f"no test knows how to run `{line}`"
        kind(*words[1:])

    def _pip(self, install, *requirements):
        """Environments with each extra are made by .ci/run; here: they exist."""
        assert install == "install"
        for requirement in requirements:
            name, extras = re.fullmatch(r"([a-z0-9-]+)(?:\[([a-z,]+)\])?", requirement).groups()
            if name != "compilespan":
                version(name)  # a test requirement: the tests run beside it
                continue
            assert set((extras or "").split(",")) <= {*PROJECT.get_all("Provides-Extra"), ""}

    def _git(self, clone, url):
        assert clone == "clone"
        assert f"Homepage, {url}" in PROJECT.get_all("Project-URL")

    def _make(self, target, *arguments):
        makefile = (ROOT / "Makefile").read_text("utf-8")
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE)
        for argument in arguments:
            assert f"$({argument.partition('=')[0]})" in makefile

    def _docker(self, compose, *arguments):
        """Docker cannot run here; tests/grafana/test_stack.py checks its files."""
        assert compose == "compose"
        text = (ROOT / "docker-compose.yml").read_text("utf-8")
        for flag, value in pairwise(arguments):
            if flag == "--profile":
                assert re.search(rf"profiles: \[.*{value}.*\]", text)

    def _vllm(self, *arguments):
        """tests/vllm starts a real one, by `make test-vllm`."""
        assert arguments == ("serve", "…")

    def _python(self, *arguments):
        if arguments[:2] == ("-m", "sglang.launch_server"):
            return  # tests/sglang runs its compile files, by `make test-vllm`
        if arguments[:2] == ("-m", "pytest"):
            arguments = (*arguments, "--collect-only", "-q")
        self._finish(sys.executable, *arguments, cwd=ROOT)

    def _compilespan(self, verb, *arguments):
        if verb == "serve":
            self._serve(*arguments)
        else:
            self._finish("compilespan", verb, *self._here(arguments))

    def _serve(self, *arguments):
        command = ["compilespan", "serve", "--port", str(self.port), *arguments]
        self.end_servers()
        self.servers.append(subprocess.Popen(command, cwd=self.directory, env=self.env))
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert self.servers[-1].poll() is None, command
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/startupz").close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError(f"never started: {command}")

    def _curl(self, *arguments):
        if not shutil.which("curl"):
            pytest.skip("curl is not installed")
        self._finish("curl", "--silent", "--show-error", "--fail", *self._here(arguments))

    def _here(self, arguments):
        return [word.replace("localhost:8000", f"127.0.0.1:{self.port}") for word in arguments]

    def _finish(self, *command, cwd=None):
        done = subprocess.run(
            command,
            cwd=cwd or self.directory,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, f"{shlex.join(command)}: {done.stdout}{done.stderr}"

    def end_servers(self):
        while self.servers:
            server = self.servers.pop()
            server.send_signal(signal.SIGTERM)
            assert server.wait(timeout=30) == 0


@pytest.mark.parametrize("page", BLOCKS)
def test_the_commands_of_a_page_run(page, tmp_path, inductor_cache):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    shell = Shell(tmp_path, free_port())
    try:
        for block in BLOCKS[page]:
            for line in block.replace("\\\n", " ").splitlines():
                shell.run(line)
    finally:
        shell.end_servers()


def test_pages_have_commands():
    assert {"README.md", "docs/run.md", "docs/service.md"} <= set(BLOCKS)


def test_an_unknown_command_is_refused(tmp_path):
    with pytest.raises(AssertionError, match="no test knows how to run `frobnicate --all`"):
        Shell(tmp_path, 0).run("frobnicate --all")
