#!/usr/bin/env bash
# Runs all tests. Everything is compiled in one go, so that no dependency is built twice; those on real parts bring the lab up, or use the
# cluster of PROVISION_TEST_KUBECONFIG.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/provision/target}
lab=$CARGO_TARGET_DIR/debug/lab
stop_lab() { "$lab" down || echo 'tests/run.sh: the lab could not be ended' >&2; }

cargo build --locked --workspace --all-targets
if [ -n "${PROVISION_TEST_KUBECONFIG:-}" ]; then
  skipped=(lab_parts:: lab_backing:: a_feature_becomes_a_branch_on_a_cluster a_feature_is_verified_in_a_container an_api_server_that_is_killed ctrl_c_twice)
  echo "tests/run.sh: on a cluster of yours these are left out, they need the lab's own servers: ${skipped[*]}" >&2
  cargo test --locked --workspace --no-fail-fast -- "${skipped[@]/#/--skip=}"
else
  trap stop_lab EXIT
  "$lab" up
  cargo test --locked --workspace --no-fail-fast
fi
