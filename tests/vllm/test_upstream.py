"""vLLM's finding of docs/upstream.md still exists in the installed version."""

from __future__ import annotations

import os

from vllm_start import HERE, PYTHON

from upstream import PROGRAMS, run

HEADING = "vLLM's mode 2 cannot load the artefact that it saves"


def test_the_saved_artefact_cannot_be_loaded(tmp_path):
    done = run(
        PYTHON,
        HEADING,
        tmp_path,
        env={**os.environ, "PYTHONPATH": str(HERE / "patches"), "TMPDIR": str(tmp_path)},
    )
    shown = [line for line in done.stdout.splitlines() if " start: " in line]
    promised = [line[2:] for line in PROGRAMS[HEADING].splitlines() if line.startswith("# ")]
    assert shown == promised, done.stderr
    assert "no attribute 'finalize_loading'" in done.stdout + done.stderr
