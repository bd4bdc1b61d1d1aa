#!/usr/bin/env bash
# Runs a real Python function in the lab with our binary, and prints what arrived. Arguments go to the lab.
set -eu
. "$(dirname "$0")/env.sh"

"$ROOT/scripts/setup.sh" demo
"$ROOT/scripts/build.sh" "$HOST_ARCH"
# Made now, with its progress in sight. Without it the lab says so and runs its built-in function.
"$ROOT/scripts/python-env.sh" >/dev/null || true
THIMBLE_BIN=$(binary "$HOST_ARCH")
export THIMBLE_BIN
exec cargo run --locked --quiet --features lab --bin lab -- demo "$@"
