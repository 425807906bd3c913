#!/usr/bin/env bash
# The quick tests on the lowest versions that pyproject.toml declares: lowest.sh DIRECTORY
# On the lowest Python, too, where it is installed. What instruments torch needs other versions of
# the OpenTelemetry SDK than the service's exporter for Prometheus, hence two environments. Torch and
# what only tests need are those of the other tests.
set -euo pipefail
cd "$(dirname "$0")/.."
envs=$1
python=$(PYENV_VERSION=3.10 python3.10 -c "import sys; print(sys.executable)" 2>/dev/null) ||
  python=$(command -v "${PYTHON:-python3}")
tools=(hypothesis jsonschema numpy pillow pytest pytest-timeout pyyaml setuptools "transformers<6")

# install NAME EXTRAS: an environment with the lowest versions of what these extras ask for.
install() {
  [ -f "$envs/$1/ready" ] && [ "$envs/$1/ready" -nt pyproject.toml ] && return
  "$python" -m venv --clear "$envs/$1"
  local pip=("$envs/$1/bin/python" -m pip --disable-pip-version-check --quiet)
  # pip prefers the CPU build of torch where it finds one.
  "${pip[@]}" install --constraint constraints.txt torch uv
  local uv=("$envs/$1/bin/uv" pip install --quiet --python "$envs/$1/bin/python")
  "${uv[@]}" --resolution lowest-direct --editable ".[$2]"
  "${uv[@]}" "${tools[@]}"
  touch "$envs/$1/ready"
}

# run NAME TEST...: old versions use what newer ones of their own dependencies have deprecated.
run() {
  "$envs/$1/bin/python" -m pip --disable-pip-version-check list |
    grep -iE '^(opentelemetry-(api|sdk|instrumentation) |wrapt|fastapi|typer|pydantic |uvicorn)'
  "$envs/$1/bin/python" -m pytest -W ignore::DeprecationWarning "${@:2}"
}

install library otlp
install service cli,service
run library tests/instrumentation
run service tests/service
