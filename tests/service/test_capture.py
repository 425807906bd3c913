"""The file of a run: its schema, back and forth, other files, and without what is confidential."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from importlib.resources import files

import jsonschema
import pytest

from captures import CUT_OFF, RECORDS, at, capture, compiled
from compilespan.ledger.records import CompileEvent, GraphBreak
from compilespan_service.capture import document
from compilespan_service.capture.capture import Dump
from compilespan_service.capture.confidential import without_paths, without_secrets
from compilespan_service.capture.document import CaptureError
from compilespan_service.cli.commands import app
from support import cli_runner

SCHEMA = json.loads(files("compilespan_service.capture").joinpath("start.schema.json").read_text())
BROKEN = compiled(
    "Broken",
    45.3,
    0.5,
    request="POST /v1/chat/completions",
    graph_breaks=(
        GraphBreak("print in /srv/secret place/app.py", "/srv/x/app.py", 3, "", "", "/opt/l.py", 9),
    ),
    events=(
        CompileEvent(
            "torch.compile.graph_break",
            at(45.4),
            {
                "code.file.path": "/srv/x/app.py",
                "torch.compile.graph_break.reason": "at /srv/x/a.py",
            },
        ),
    ),
    skip_reason="cannot open /home/alice/models/llama: see https://pytorch.org/docs/x.html",
    outcome="skipped",
)
FULL = capture(
    (*RECORDS, BROKEN),
    interrupted=(CUT_OFF,),
    unknown=("torch ran in /opt/other/bin/python without compilespan",),
    dumps=(Dump(1, "0/0", "/srv/dumps/0.html"),),
    left_out=3,
)


def text():
    return document.text(FULL)


def closed(schema):
    """Return a schema that takes no field which it does not describe."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    if isinstance(made.get("properties"), dict) and made.get("type") == "object":
        made["additionalProperties"] = False
    return made


def test_the_schema_is_one_and_describes_all_that_is_written():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(json.loads(text()), closed(SCHEMA))


def test_the_schema_lets_new_fields_come():
    values = json.loads(text())
    for place in (values, values["totals"], values["compiles"][0], values["findings"][0]):
        place["new"] = 1
    jsonschema.validate(values, SCHEMA)
    assert document.from_json(values) == document.from_json(json.loads(text()))


def test_what_is_written_is_read_back():
    found = document.from_json(json.loads(text()))
    assert document.text(found) == text()
    assert found.totals == FULL.totals
    assert found.compiles == list(FULL.compiles)
    assert found.findings == FULL.findings
    assert found.cache == "cold"


def change(values, path, to):
    *way, last = path
    for step in way:
        values = values[step]
    if to is None:
        del values[last]
    else:
        values[last] = to


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("totals",), None),
        (("totals", "encoder"), None),
        (("totals", "total", "compile_s"), "1"),
        (("totals", "by_name"), 7),
        (("compiles",), {"a": 1}),
        (("compiles", 0, "name"), None),
        (("compiles", 0, "stages"), {"trace": 1.0}),
        (("compiles", 0, "component"), "language_model"),
        (("findings", 0, "fix"), None),
        (("segments", 0), []),
        (("interrupted", 0, "pid"), None),
        (("host",), 3),
        (("wall_s",), "long"),
        (("began_ns",), {}),
    ],
)
def test_a_damaged_file_is_one_sentence(path, to):
    values = copy.deepcopy(json.loads(text()))
    change(values, path, to)
    with pytest.raises(CaptureError, match="is damaged"):
        document.from_json(values)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not valid JSON"),
        ("[1, 2]", "names no schema"),
        ('{"schema": 1}', "names no schema"),
        ('{"schema": "urn:compilespan:schema:start:x"}', "names no schema"),
        ('{"schema": "urn:compilespan:schema:start:2"}', "a newer compilespan (schema 2"),
        ("[" * 100_000, "is not valid JSON"),
        ("\xff", "is not valid JSON"),
        (None, "cannot be read"),
    ],
)
def test_other_files_end_with_a_sentence_and_code_2(tmp_path, content, said):
    path = tmp_path / "start.json"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    done = cli_runner().invoke(app, ["report", str(path)])
    assert done.exit_code == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "start.json"
    path.write_text(text(), "utf-8")
    return path


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("findings", 0, "seconds"), "x"),
        (("findings", 0, "what"), 3),
        (("start",), {"import": "x"}),
        (("totals", "by_stage"), {"trace": "x"}),
        (("interrupted", 0, "elapsed_s"), "x"),
        (("compiles", 0, "start_ns"), None),
        (("imports",), {"torch": []}),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence_too(tmp_path, path, to):
    values = json.loads(text())
    change(values, path, to)
    file = tmp_path / "start.json"
    file.write_text(json.dumps(values))
    for options in ([], ["--trace", str(tmp_path / "t.json")]):
        done = cli_runner().invoke(app, ["report", str(file), *options])
        assert done.exit_code in (0, 2)
        assert not done.exception or isinstance(done.exception, SystemExit)
        assert done.exit_code == 0 or "is damaged" in done.stderr


@pytest.mark.parametrize("number", ["NaN", "Infinity"])
def test_a_number_that_json_has_not_is_refused(tmp_path, number):
    file = tmp_path / "start.json"
    file.write_text(text().replace('"wall_s": 46.0', f'"wall_s": {number}'))
    done = cli_runner().invoke(app, ["report", str(file), "--json", "-"])
    assert done.exit_code == 2
    assert "not a JSON number" in done.stderr


def test_a_mark_at_the_beginning_is_read_over(tmp_path):
    file = tmp_path / "start.json"
    file.write_text("\ufeff" + text(), "utf-8")
    assert cli_runner().invoke(app, ["report", str(file)]).exit_code == 0


def test_a_stage_of_a_newer_version_has_its_own_name(tmp_path):
    values = json.loads(text())
    values["totals"]["by_stage"]["linking"] = 3.0
    values["interrupted"][0]["stage"] = "linking"
    file = tmp_path / "start.json"
    file.write_text(json.dumps(values))
    done = cli_runner().invoke(app, ["report", str(file)])
    assert "linking 3.00 s" in done.stdout
    assert "compiling (linking) when" in done.stdout


def test_nothing_in_a_file_moves_the_cursor(tmp_path):
    file = tmp_path / "start.json"
    values = json.loads(text())
    values["findings"][0].update(code="\x1b[2J", line="\x1b[3J")
    values["imports"] = {"\x1b[4J": 3.0}
    values["dumps"] = [{"pid": 1, "compile_id": "0/0", "path": "\x1b[5J"}]
    file.write_text(json.dumps(values))
    assert "\x1b" not in cli_runner().invoke(app, ["report", str(file)]).stdout


def test_a_full_disk_is_an_error_and_a_reader_that_left_is_none(file):
    command = [sys.executable, "-m", "compilespan_service.cli", "report", str(file)]
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [*command, "--json", "-"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert "standard output" in done.stderr
    assert "Traceback" not in done.stderr
    for options in ("", "--json -", "--html -"):
        shell = f"{' '.join(command)} {options} | head -c 10; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(
            ["bash", "-c", shell], capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, ""), options


def test_report_draws_the_table_again(file):
    done = cli_runner().invoke(app, ["report", str(file)])
    assert done.exit_code == 0
    for expected in ("LlamaForCausalLM", "total", "What cost the most", "VisionTower was still"):
        assert expected in done.stdout


def test_report_writes_json_and_a_trace(file, tmp_path):
    trace = tmp_path / "trace.json"
    done = cli_runner().invoke(app, ["report", str(file), "--json", "-", "--trace", str(trace)])
    assert (done.exit_code, done.stdout) == (0, text())
    slices = [each for each in json.loads(trace.read_text())["traceEvents"] if each["ph"] == "X"]
    assert [each["dur"] for each in slices if each["cat"] != "stage"] == [
        each.duration_ns / 1000 for each in FULL.compiles
    ]


def test_a_file_that_cannot_be_written_is_said_before_anything_else(file, tmp_path):
    done = cli_runner().invoke(app, ["report", str(file), "--json", str(tmp_path / "no" / "x")])
    assert done.exit_code == 2
    assert f"there is no directory {tmp_path / 'no'}" in done.stderr


def test_without_paths_nothing_confidential_is_left(file):
    done = cli_runner().invoke(app, ["report", str(file), "--json", "-", "--no-paths"])
    assert done.exit_code == 0
    for word in ("/srv", "/opt", "/home", "alice", "secret place", "gpu-7", "--port"):
        assert word not in done.stdout, word
    values = json.loads(done.stdout)
    jsonschema.validate(values, SCHEMA)
    assert values["command"] == ["python", "…"]
    assert values["compiles"][1]["file"] == "llama.py"
    assert values["compiles"][-1]["request"] == "POST /v1/chat/completions"
    assert "https://pytorch.org/docs/x.html" in values["compiles"][-1]["skip_reason"]
    assert {each["link"] for each in values["findings"]} == {each.link for each in FULL.findings}
    assert values["totals"] == json.loads(text())["totals"]


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ("at /a/b/c.py:12", "at c.py:12"),
        ('File "/a/b c.py", line 3', 'File "b c.py", line 3'),
        ("in ~/work/model.py", "in model.py"),
        ("in ./x/y.py", "in y.py"),
        ("in src/models/llama.py line 3", "in llama.py line 3"),
        (r"in C:\Users\alice\m.py", "in m.py"),
        ("under POST /v1/chat", "under POST /v1/chat"),
        ("https://pytorch.org/c/d.html", "https://pytorch.org/c/d.html"),
        ("see http://joe:pw@corp.internal/x", "see …"),
        ("s3://acme/joe/m.pt hf://acme/joe", "m.pt …"),
        ("file:///home/joe/x.py", "x.py"),
        ("error:/home/joe/acme -I/home/joe/inc", "… …"),
        ("PYTHONPATH=/usr/lib:/home/joe/lib", "PYTHONPATH=…"),
        ("joe@corp:/home/joe", "…"),
        ("~joe/acme/x.py", "x.py"),
        ("joe/acme/kernel.cu:12", "kernel.cu:12"),
        ("'joe smith/acme secret/a.txt' is gone", "'a.txt' is gone"),
        ("# atk/home/joe smith/acme/mod x.py:15", "# … … x.py:15"),
        ("/home/joe/[acme]/c.py", "c.py"),
        ("/home/joe/a,b/c.py", "c.py"),
        (r"C:\\Users\\joe\\x.py", "x.py"),
        (r"\\server\share\joe\x.py", "x.py"),
        (r"joe\acme\x.py", "x.py"),
        ("process 7 (python) ran as user joe, and", "process 7 (python) ran as another user, and"),
        ("CPUs / processes", "CPUs / processes"),
        ("0/1: L['x'] == 3", "0/1: L['x'] == 3"),
        ("a graph/break", "a …"),
    ],
)
def test_of_a_path_its_last_part_is_left(given, left):
    record = compiled("f", 1, 1.0, skip_reason=given, outcome="skipped")
    (found,) = without_paths(capture((record,))).compiles
    assert found.skip_reason == left


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        (["vllm", "--api-key", "sk-1", "--port", "1"], ["vllm", "--api-key", "***", "--port", "1"]),
        (["x", "--hf-token=abc"], ["x", "--hf-token=***"]),
        (["env", "OPENAI_API_KEY=sk-1", "x"], ["env", "OPENAI_API_KEY=***", "x"]),
        (["x", "--tokens-per-second", "7"], ["x", "--tokens-per-second", "***"]),
        (["python", "monkey.py", "key"], ["python", "monkey.py", "key"]),
    ],
)
def test_secrets_of_a_command_line_are_not_kept(command, kept):
    assert list(without_secrets(command)) == kept


def test_to_take_a_run_imports_no_renderer():
    code = (
        "import sys, compilespan_service.capture.taking, compilespan_service.capture.document\n"
        "print({'rich', 'typer', 'fastapi', 'pydantic', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
