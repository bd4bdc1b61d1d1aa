#!/usr/bin/env bash
# Runs a real Python function in the lab with our binary, and prints what arrived. Arguments go to the lab.
set -eu
. "$(dirname "$0")/env.sh"

"$ROOT/scripts/setup.sh" demo
# The libraries are fetched while the compiler runs. Without them the lab says so and runs its built-in function.
"$ROOT/scripts/python-env.sh" >/dev/null &
python=$!
step "building thimble"
"$ROOT/scripts/build.sh" "$HOST_ARCH"
step "building the lab"
cargo build --locked --features lab --bin lab
wait "$python" || true
THIMBLE_BIN=$(binary "$HOST_ARCH")
export THIMBLE_BIN
exec cargo run --locked --quiet --features lab --bin lab -- demo "$@"
