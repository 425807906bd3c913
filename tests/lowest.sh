#!/usr/bin/env bash
# The quick tests on the lowest versions that pyproject.toml declares: lowest.sh DIRECTORY
# On the lowest Python, too, if it is installed. First the library, then the service, whose exporter
# for Prometheus needs a newer SDK. Torch and what only tests need are not the lowest.
set -euo pipefail
cd "$(dirname "$0")/.."
env=$1
python=$(PYENV_VERSION=3.10 python3.10 -c "import sys; print(sys.executable)" 2>/dev/null) ||
  python=$(command -v "${PYTHON:-python3}")
tools=(hypothesis jsonschema numpy pillow pytest pytest-timeout pytest-xdist pyyaml setuptools "transformers<6")

if [ ! -x "$env/bin/pytest" ]; then
  "$python" -m venv "$env"
  pip=("$env/bin/python" -m pip --disable-pip-version-check --quiet)
  # pip, unlike uv, prefers the CPU build of torch where it finds one.
  "${pip[@]}" install --constraint constraints.txt torch uv
  "${pip[@]}" install "${tools[@]}"
fi
PATH="$env/bin:$PATH"

# lowest EXTRAS: what these extras require, as old as they allow. typer 0.12 needs click 8.1.
lowest() {
  uv pip install --quiet --python "$env/bin/python" --resolution lowest-direct --upgrade \
    --constraint <(echo "click<8.2") --editable ".[$1]"
  uv pip list --quiet --python "$env/bin/python" |
    grep -iE '^(fastapi|fsspec|httpx|opentelemetry-|prometheus|pydantic|rich|starlette|typer|uvicorn|wrapt)'
}

# quick FOLDER: old versions use what newer ones of their own dependencies have deprecated.
quick() {
  python -m pytest --numprocesses 2 --dist worksteal -m "not long" -W ignore::DeprecationWarning "$1"
}

lowest otlp,cache
quick tests/instrumentation
lowest cli,service,cache
quick tests/service
tests/servers/resolve.sh "$env/bin/python"
