#!/usr/bin/env bash
# Makes the virtual environment that every other target works in: exactly what requirements.txt (runtime)
# and requirements-dev.txt (tools) name, each file checked by its hash. Called by `make setup`.
set -euo pipefail
python="$1"
venv="$2"

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "bellcow needs Python 3.11 or newer; set PYTHON=/path/to/python3.11 (found: $("$python" --version 2>&1 || echo none))" >&2
  exit 1
fi
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv
  else
    echo "Python's venv module is missing. On Debian and Ubuntu: apt-get install python3-venv" >&2
    exit 1
  fi
fi
wanted="$("$python" -c 'import sys; print(sys.version)')"
if [ "$("$venv/bin/python" -c 'import sys; print(sys.version)' 2>/dev/null)" != "$wanted" ]; then
  "$python" -m venv --clear "$venv"
fi
echo "making $venv (a minute or two; again only when the locked versions change)"
pip=("$venv/bin/python" -m pip --quiet --disable-pip-version-check install)
"${pip[@]}" --require-hashes --only-binary :all: -r requirements.txt -r requirements-dev.txt
"${pip[@]}" --no-deps --no-build-isolation --editable .
