#!/usr/bin/env bash
# Whether the extras can be installed beside each server, by its own requirements: resolve.sh PYTHON
# PYTHON has uv installed. No floor of ours may be above what a server allows.
set -euo pipefail
cd "$(dirname "$0")/../.."
servers=("bentoml>=1.4" "celery[redis]" "google-adk>=2" "gradio>=6" gunicorn "infinity-emb[server]"
  kserve litserve "ray[serve]" rq)
for server in "${servers[@]}"; do
  printf '%s\n' "compilespan[cli,service] @ file://$PWD" "$server" |
    "$1" -m uv pip compile --quiet --python "$1" - >/dev/null ||
    { echo "compilespan[cli,service] cannot be installed beside $server" >&2; exit 1; }
  echo "beside $server: yes"
done
