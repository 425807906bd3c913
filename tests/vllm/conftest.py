"""Real starts of vLLM, each in processes of its own, seen by a real OTLP receiver."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "system")]

from receiver import Receiver  # noqa: E402  # lies beside the system tests
from vllm_start import HERE, PYTHON, Start, environment  # noqa: E402


def pytest_collection_modifyitems(items):
    if PYTHON is None:
        skip = pytest.mark.skip(reason="needs vLLM in an environment of its own: make test-vllm")
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    subprocess.run([PYTHON, HERE / "make_models.py", directory], check=True)
    return directory


@pytest.fixture(scope="session")
def start(models):
    """Return a function that starts an engine and returns what was seen of it."""

    def run(model, directory, options=None, **env):
        with Receiver() as receiver:
            done = subprocess.run(
                [PYTHON, HERE / "start.py", models / model, json.dumps(options or {})],
                env=environment(directory, receiver, **env),
                cwd=directory,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=280,
                check=False,
            )
            return Start(done.returncode, done.stdout, receiver.received, directory / "state")

    return run


@pytest.fixture(scope="session")
def scratch(tmp_path_factory):
    """Where the cold start leaves what the warm one finds."""
    return tmp_path_factory.mktemp("llama")


@pytest.fixture(scope="session")
def served_before(tmp_path_factory):
    """Where a server leaves what the next one finds."""
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="session")
def cold(start, scratch):
    return start("llama", scratch)


@pytest.fixture(scope="session")
def warm(cold, start, scratch):
    return start("llama", scratch)
