"""``compilespan totals`` of real servers and of journals."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from fastapi import FastAPI

from compilespan_service.cli.commands import app as commands
from serving import Model
from support import cli_runner


def totals(*arguments):
    done = cli_runner().invoke(commands, ["totals", *arguments, "--json"])
    return done.exit_code, json.loads(done.stdout) if done.stdout else None


def warmed(server):
    assert cli_runner().invoke(commands, ["warm", server.url]).exit_code == 0


COMPILES = """
import sys, time, torch
from compilespan import TorchCompileInstrumentor, mark_ready
from compilespan.journal.writer import open_journal
TorchCompileInstrumentor().instrument()
open_journal()
def backend(gm, inputs):
    time.sleep(1)
    return gm.forward
torch.compile(lambda x: x + 1, backend=backend)(torch.zeros(3))
mark_ready()
"""


def test_a_server_says_what_its_endpoint_says(serve_at_port):
    server = serve_at_port(Model(sizes=(1, 2)))
    warmed(server)
    code, said = totals(server.url)
    assert code == 0
    (replica,) = said["replicas"]
    assert replica["total"]["compiles"] == 2
    assert said["together"]["total"]["compile_s"] == replica["total"]["compile_s"]
    assert said["together"]["total"]["wall_s"] == pytest.approx(
        replica["total"]["wall_s"], abs=0.01
    )


def test_sums_unions_and_maxima_of_two_starts_at_once(tmp_path):
    children = [
        subprocess.Popen(
            [sys.executable, "-c", COMPILES],
            env={
                **os.environ,
                "COMPILESPAN_STATE_DIR": str(tmp_path),
                "COMPILESPAN_INSTANCE_ID": name,
            },
        )
        for name in ("one", "two")
    ]
    assert [child.wait(120) for child in children] == [0, 0]
    code, said = totals("--state-dir", str(tmp_path))
    assert (code, sorted(each["name"] for each in said["replicas"])) == (0, ["one", "two"])
    rows = [each["total"] for each in said["replicas"]]
    all_of_it = said["together"]["total"]
    assert all_of_it["compiles"] == 2
    assert all_of_it["compile_s"] == pytest.approx(sum(row["compile_s"] for row in rows))
    assert all_of_it["longest_s"] == max(row["longest_s"] for row in rows)
    assert (
        max(row["wall_s"] for row in rows) <= all_of_it["wall_s"] <= all_of_it["compile_s"] + 1e-6
    )
    shown = cli_runner().invoke(commands, ["totals", "--state-dir", str(tmp_path)]).stdout
    assert "together (2)" in shown


def test_who_does_not_answer_is_1_and_the_others_are_shown(serve_at_port, scripted):
    server = serve_at_port(Model(sizes=(1,)))
    warmed(server)
    foreign = FastAPI()
    foreign.get("/totals")(lambda: {"total": 3})

    @foreign.get("/compiles")
    def compiles():
        return []

    done = cli_runner().invoke(
        commands, ["totals", server.url, "http://127.0.0.1:1", scripted(foreign)]
    )
    assert done.exit_code == 1
    assert "together (1)" in done.stdout
    assert "http://127.0.0.1:1: no answer" in done.stdout
    assert "answers as no compilespan does" in done.stdout


def test_what_cannot_be_right_is_2(tmp_path):
    assert totals()[0] == 2
    assert totals("http://h", "--state-dir", str(tmp_path))[0] == 2
    assert totals("--state-dir", str(tmp_path / "none"))[0] == 2
    assert cli_runner().invoke(commands, ["totals", "--state-dir", str(tmp_path)]).exit_code == 0
