#!/usr/bin/env bash
# Runs the stages of `make check` or `make test` one after another, whatever fails, and ends with one
# line a stage. Exits 1 if any failed.
set -uo pipefail
cd "$(dirname "$0")/.."
which="$1"
bin="$2"
workers="$3" # processes for tests that compute
waiters="$4" # processes for tests that mostly wait for real servers

summary=()
failed=0

stage() {
  local name="$1" began=$SECONDS word=ok
  shift
  printf '\n== %s\n' "$name"
  "$@" || { word=FAILED && failed=1; }
  summary+=("$(printf '%-6s  %4d s  %s' "$word" $((SECONDS - began)) "$name")")
}

# Tests that share a server have one process; the others go wherever one is free.
spread=(-rs --dist loadgroup --no-loadscope-reorder)
fast=(tests/unit tests/routes tests/stories tests/test_tidy.py)
stage "format" "$bin/ruff" format --check .
stage "lint" "$bin/ruff" check .
stage "types" "$bin/mypy"
stage "imports" "$bin/lint-imports" --no-logo
stage "fast tests" "$bin/pytest" -n "$workers" -rs -m "not slow" "${fast[@]}"
if [ "$which" = test ]; then
  stage "slow tests" "$bin/pytest" -n "$waiters" "${spread[@]}" -m slow "${fast[@]}"
  stage "real servers" "$bin/pytest" -n "$waiters" "${spread[@]}" tests/cluster tests/abuse tests/contract
fi

printf '\n'
printf '%s\n' "${summary[@]}"
exit "$failed"
