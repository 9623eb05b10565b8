#!/usr/bin/env bash
# Makes the virtual environment that every other target works in. Called by `make setup`.
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
echo "making $venv (a minute or two; again only when pyproject.toml changes)"
"$venv/bin/python" -c '' 2>/dev/null || "$python" -m venv --clear "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
"$venv/bin/pip" install --quiet --disable-pip-version-check --editable . --group dev
