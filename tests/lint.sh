#!/usr/bin/env bash
# Formatting, clippy, docs and dependencies. cargo-deny is built once into the tools cache.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/provision/target}
tools=$HOME/.cache/provision/tools/cargo
version=0.20.2
cargo fmt --all --check
cargo clippy --locked --workspace --all-targets -- -D warnings
RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --quiet
if ! "$tools/bin/cargo-deny" --version 2>/dev/null | grep -qF "$version"; then
  CARGO_TARGET_DIR=$tools/target cargo install --quiet --locked --root "$tools" --version "$version" cargo-deny
  rm -rf "$tools/target"
fi
"$tools/bin/cargo-deny" check bans licenses sources
