#!/usr/bin/env bash
# Writes requirements.txt (runtime) and requirements-dev.txt (tools) from pyproject.toml: the newest
# versions that agree, for every Python and platform that is promised, with hashes. Called by `make lock`.
set -euo pipefail
cd "$(dirname "$0")/.."
uv="$1"

# An index that pip is configured for is used here, too; the files do not name it.
index="$("$(dirname "$uv")/python" -m pip config get global.index-url 2>/dev/null || true)"
[ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"

compile=("$uv" pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header)
lock() {
  local file="$1"
  shift
  "${compile[@]}" "$@" --output-file "$file.partial"
  {
    echo "# Made by \`make lock\` from pyproject.toml. Do not edit."
    cat "$file.partial"
  } >"$file"
  rm "$file.partial"
}
lock requirements.txt pyproject.toml
lock requirements-dev.txt --group dev --constraints requirements.txt
