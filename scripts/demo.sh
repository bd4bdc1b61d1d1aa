#!/usr/bin/env bash
# Runs a real Python function in the lab with our binary, and prints what arrived. Arguments go to the lab.
set -eu
. "$(dirname "$0")/env.sh"

"$ROOT/scripts/setup.sh" demo
"$ROOT/scripts/build.sh" "$HOST_ARCH"
# Without Python packages the lab runs its built-in function, and says so.
"$ROOT/scripts/python-env.sh" || echo "the Python environment could not be set up"
THIMBLE_BIN=$(binary "$HOST_ARCH")
export THIMBLE_BIN
exec cargo run --locked --quiet --features lab --bin lab -- demo "$@"
