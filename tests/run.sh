#!/usr/bin/env bash
# Runs all tests. Everything is compiled in one go, so that no dependency is built twice; those on real parts bring the lab up, or use the
# cluster of PROVISION_TEST_KUBECONFIG.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/provision/target}
lab=$CARGO_TARGET_DIR/debug/lab
stop_lab() { "$lab" down || echo 'tests/run.sh: the lab could not be ended' >&2; }

cargo build --locked --workspace --all-targets
if [ -z "${PROVISION_TEST_KUBECONFIG:-}" ]; then
  trap stop_lab EXIT
  "$lab" up
fi
cargo test --locked --workspace --no-fail-fast
