#!/usr/bin/env bash
# Builds the Rust function that the lab's tests drive thimble with, a package of its own with its own lock, and prints
# the folder that holds its program `bootstrap`. Idempotent, under the target directory. What it does goes to standard
# error. Exit 3: it is missing or cannot be built.
#   scripts/rust-env.sh [--made]   with --made it only looks: exit 3 when there is none yet
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
source=$root/tests/functions/rust

say() { echo "rust-env: $*" >&2; }

hash=$(cat "$source"/Cargo.* "$source"/src/* <(rustc --version) | sha256sum | cut -c1-12)
mkdir -p "$target/lab/rust"
folder=$(cd "$target/lab/rust" && pwd)
if [ "$(cat "$folder/complete" 2>/dev/null)" != "$hash" ]; then
    if [ "${1:-}" = --made ]; then
        say "the Rust function of the tests is not made yet; \`make test\` or scripts/rust-env.sh makes it"
        exit 3
    fi
    say "building $source into $folder"
    if ! cargo build --quiet --locked --manifest-path "$source/Cargo.toml" --target-dir "$folder/build" >&2; then
        say "cargo could not build the Rust function; is the registry reachable?"
        exit 3
    fi
    mkdir -p "$folder/function"
    cp "$folder/build/debug/clients" "$folder/function/bootstrap"
    echo "$hash" >"$folder/complete"
fi
echo "$folder/function"
