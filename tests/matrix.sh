#!/usr/bin/env bash
# Runs the end-to-end tests on each Envoy version that the filter is meant for, and prints a table.
# `make test-matrix` builds what it needs. A log of each run is left under target/matrix/.
set -uo pipefail
cd "$(dirname "$0")/.."
# 1.38.3 on PyPI is built without V8, so it can run no Wasm at all.
versions=(1.36.4 1.37.0 1.38.2 1.39.3 1.40.0)
mkdir -p target/matrix
failed=0
table="| Envoy | end-to-end tests |"$'\n'"|---|---|"
for version in "${versions[@]}"; do
  echo "Envoy $version: running the end-to-end tests" >&2
  log="target/matrix/$version.log"
  if PINROUTE_ENVOY_VERSION=$version "${CARGO:-cargo}" test --test e2e >"$log" 2>&1; then :; else failed=1; fi
  result=$(sed -nE 's/^test result: [^ ]+ ([0-9]+ passed; [0-9]+ failed).*/\1/p' "$log" | tail -n 1)
  table+=$'\n'"| $version | ${result:-did not run: see $log} |"
  [ -n "$result" ] || failed=1
done
printf '%s\n' "$table"
exit $failed
