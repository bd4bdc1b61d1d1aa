#!/usr/bin/env bash
# Formatting, lints and documentation, none of which may warn.
set -eu
. "$(dirname "$0")/env.sh"

"$ROOT/scripts/setup.sh" check
step "cargo fmt"
cargo fmt --check
step "cargo clippy"
cargo clippy --locked --all-targets --all-features -- -D warnings
step "cargo doc"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --lib --document-private-items
