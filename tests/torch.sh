#!/usr/bin/env bash
# The tests of hooks, warmup and service on another version of torch: torch.sh DIRECTORY VERSION
set -euo pipefail
cd "$(dirname "$0")/.."
env=$1
if [ ! -x "$env/bin/pytest" ]; then
  "${PYTHON:-python3}" -m venv "$env"
  "$env/bin/python" -m pip install --disable-pip-version-check --quiet uv
  "$env/bin/python" -m uv pip install --quiet --python "$env/bin/python" \
    --constraint <(grep -vE '^(torch|triton)' constraints.txt) "torch==$2" --editable ".[cli,service]" \
    hypothesis jsonschema numpy opentelemetry-distro pillow psutil pytest pytest-timeout \
    pytest-xdist pyyaml setuptools "transformers<6"
fi
"$env/bin/python" -c "import torch; print('torch', torch.__version__)"
"$env/bin/python" -m pytest --numprocesses 2 --dist worksteal -W ignore::DeprecationWarning \
  tests/instrumentation tests/service
