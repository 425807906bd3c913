"""The private names that we rest on are there, in the version that the tests are for."""

from __future__ import annotations

import json
import subprocess

import pytest
from vllm_start import PYTHON, environment

pytestmark = [pytest.mark.system, pytest.mark.timeout(200)]

CODE = """
import importlib, json
from compilespan.dynamo import private
lost = {}
for each in private.REGISTER:
    if each.module.startswith("vllm."):
        try:
            importlib.import_module(each.module)
            if each.found() is None:
                lost[each.name] = "not there"
        except ImportError as error:
            lost[each.name] = str(error)
print(json.dumps(lost))
"""


def test_every_name_of_vllm_is_there(tmp_path):
    done = subprocess.run(
        [PYTHON, "-c", CODE],
        env=environment(tmp_path, COMPILESPAN_STATE_DIR=""),
        capture_output=True,
        text=True,
        check=True,
    )
    lost = json.loads(done.stdout.splitlines()[-1])
    # Ray is not installed; vLLM's runners for GPUs are imported without one.
    assert {name: why for name, why in lost.items() if "No module named 'ray'" not in why} == {}
