#!/usr/bin/env bash
# Runs all tests: those of each crate first, then those that need the lab, one binary at a time.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/provision/target}
bin=$CARGO_TARGET_DIR/debug
stop_lab() { [ -n "${PROVISION_TEST_KUBECONFIG:-}" ] || "$bin/lab" down || true; }

cargo build --locked --bins
cargo test --locked --workspace --exclude integration
if [ -z "${PROVISION_TEST_KUBECONFIG:-}" ]; then
  trap stop_lab EXIT
  "$bin/lab" up
fi
cargo test --locked -p integration -- --test-threads=1
