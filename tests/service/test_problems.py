"""Problem documents: what each says, and what none says."""

from __future__ import annotations

import doctest

import pytest
from fastapi.testclient import TestClient

from compilespan import reasons
from compilespan_service.app import create_app, make_runner
from compilespan_service.door import text as redaction
from compilespan_service.door.problems import _KINDS, ProblemError, responses
from compilespan_service.settings import Settings


@pytest.mark.parametrize("module", [redaction, reasons])
def test_the_examples_of_the_docstrings(module):
    assert doctest.testmod(module).failed == 0


def test_a_post_to_a_draining_process_is_told():
    runner = make_runner(Settings(warmup="on-request", factory="nowhere:targets"))
    with TestClient(create_app(runner.settings, runner=runner)) as client:
        runner.drain()
        response = client.post("/warmup")
        assert response.status_code == 503
        assert response.json()["type"] == "urn:compilespan:problem:draining"
        assert client.get("/readyz").status_code == 503
        assert client.get("/readyz").json()["state"] == "draining"
        assert client.get("/livez").status_code == client.get("/startupz").status_code == 200


@pytest.mark.parametrize("kind", _KINDS)
def test_a_problem_is_described_as_it_is_sent(kind):
    sent = ProblemError(kind, "It lies in /srv/secret/place.").response()
    assert b"/srv" not in sent.body
    (described,) = [r for status, r in responses(kind).items() if status == sent.status_code]
    example = described["content"]["application/problem+json"]["examples"][kind]["value"]
    assert example["type"].encode() in sent.body
    assert example["status"] == sent.status_code
