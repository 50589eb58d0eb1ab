#!/usr/bin/env bash
# The environment in which the peers are measured: bench/setup.sh [FOLDER], default .venv-bench. Quick where it is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv=${1:-.venv-bench}
recipe=(pyproject.toml constraints.txt constraints-bench.txt bench/requirements.txt bench/requirements-no-deps.txt)
digest=$(cat "${recipe[@]}" | sha256sum | cut -c1-64)
if [ "$(cat "$venv/.digest" 2>/dev/null)" = "$digest" ]; then
  exit 0
fi

if [ ! -x "$venv/bin/python" ]; then
  python=${PYTHON:-}
  for name in python3 python3.13 python3.12 python3.11 python; do
    [ -n "$python" ] && break
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$name; fi
  done
  if [ -z "$python" ]; then
    echo "bench/setup.sh: no Python of at least 3.11 was found; name one: PYTHON=/path/to/python3.11" >&2
    exit 1
  fi
  "$python" -m venv "$venv"
fi

pip=("$venv/bin/python" -m pip --disable-pip-version-check install -q -c constraints.txt -c constraints-bench.txt)
echo "bench: installing the peers into $venv"
"${pip[@]}" -e . -r bench/requirements.txt
"${pip[@]}" --no-deps -r bench/requirements-no-deps.txt
echo "$digest" >"$venv/.digest"
