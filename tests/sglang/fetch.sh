#!/usr/bin/env bash
# SGLang's own compile and plugin files, without what they need a GPU for: fetch.sh DIRECTORY
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
directory=$1
python=${PYTHON:-python3}
. "$here/versions"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$python" -m pip --disable-pip-version-check download --quiet --no-deps --only-binary :all: \
  --platform manylinux_2_34_x86_64 --platform any --python-version 3.11 \
  --dest "$scratch" "sglang==$SGLANG"
"$python" - "$scratch"/sglang-*.whl "$directory" <<'PY'
import sys, zipfile

wanted = ("sglang/srt/compilation/", "sglang/srt/plugins/", "sglang/srt/observability/startup_time.py")
with zipfile.ZipFile(sys.argv[1]) as wheel:
    for name in wheel.namelist():
        if name.startswith(wanted):
            wheel.extract(name, sys.argv[2])
PY
