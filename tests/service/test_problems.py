"""Problem documents: what each says, and what none says."""

from __future__ import annotations

import doctest
import json

import pytest
from fastapi.testclient import TestClient

from compilespan.ledger import reasons
from compilespan_service.app import create_app, make_runner
from compilespan_service.door import text
from compilespan_service.door.problems import _KINDS, ProblemError, responses
from compilespan_service.settings import Settings


@pytest.mark.parametrize("module", [text, reasons])
def test_the_examples_of_the_docstrings(module):
    assert doctest.testmod(module).failed == 0


def test_a_post_to_a_draining_process_is_told():
    settings = Settings(warmup="on-request", factory="nowhere:targets", allowed_hosts="testserver")
    runner = make_runner(settings)
    with TestClient(create_app(settings, runner=runner, changes_allowed=True)) as client:
        runner.drain()
        response = client.post("/warmup")
        assert response.status_code == 503
        assert response.json()["type"] == "urn:compilespan:problem:draining"
        assert client.get("/readyz").status_code == 503
        assert client.get("/readyz").json()["state"] == "draining"
        assert client.get("/livez").status_code == client.get("/startupz").status_code == 200


@pytest.mark.parametrize("kind", _KINDS)
def test_a_problem_is_described_as_it_is_sent(kind):
    sent = ProblemError(kind, "POST …/warmup starts one.").response()
    assert json.loads(sent.body)["detail"] == "POST …/warmup starts one."
    (described,) = [r for status, r in responses(kind).items() if status == sent.status_code]
    example = described["content"]["application/problem+json"]["examples"][kind]["value"]
    assert example["type"].encode() in sent.body
    assert example["status"] == sent.status_code


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("error:/srv/secret/x", "error:…/x"),
        ("No such file: '/srv/my models/a b.json'", "No such file: '…/a b.json'"),
        ('open("/srv/models/x")', 'open("…/x")'),
        ("file:///srv/secret/x is not there", "…/x is not there"),
        (r"C:\Users\me\model.bin is locked", "…/model.bin is locked"),
        ("(/srv/secret/x)", "(…/x)"),
        ("path=/srv/secret/x, 5", "path=…/x, 5"),
        ("cannot open /models//llama/secret/w.bin", "cannot open …/w.bin"),
        ("open /srv/my secret dir/model.bin: no", "open …/model.bin: no"),
        ("//srv/secret/x and </srv/secret/y>", "…/x and <…/y>"),
        ("sqlite:////srv/secret/x.db", "sqlite:…/x.db"),
        ("cc -I/srv/secret/include", "cc -I…/include"),
        (r"C:\Users\joe doe\secret\x", "…/x"),
        ("/srv/a,b/secret/x, 5", "…/x, 5"),
        ("read /a/b and /c/d", "read …/b and …/d"),
        ("s3://bucket/key a // b </p>", None),
        ("POST http://127.0.0.1:8000/v1/completions: 500", None),
        ("graph 0/0 of 3/4, and/or a ratio of 1/2", None),
        ("…/config.json, ./a/b, ../c", None),
        ("L['x'].size()[0] == 3", None),
    ],
)
def test_a_foreign_text_has_no_path_of_the_server(given, kept):
    assert text.foreign(given) == (kept or given)


def test_a_foreign_text_is_valid_and_bounded_and_cannot_fail():
    class Wordless(Exception):
        def __str__(self):
            raise ValueError

    assert text.foreign("caf\udce9") == "caf?"
    assert len(text.foreign("x" * 320_000)) == 1024
    assert text.described(Wordless()).startswith("Wordless: ")
