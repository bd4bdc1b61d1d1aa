#!/usr/bin/env bash
# Builds what is measured and prints the table of figures.
#   scripts/bench.sh [--markdown] [start|idle|size|spans|path|samples|lines|after ...]
set -eu
. "$(dirname "$0")/env.sh"

"$ROOT/scripts/setup.sh" bench >&2
"$ROOT/scripts/layer.sh" >&2
release "$HOST_ARCH" --features lab --bin floor --bin bench >&2 # the floor is built as the binary is

export THIMBLE_BIN THIMBLE_FLOOR THIMBLE_LAYERS
THIMBLE_BIN=$(binary "$HOST_ARCH")
THIMBLE_FLOOR=$(dirname "$THIMBLE_BIN")/floor
THIMBLE_LAYERS=$ROOT/target/layer
# What else the machine does comes second, where that may be asked for.
ahead=()
if chrt --rr 20 true 2>/dev/null; then ahead=(chrt --rr 20); fi
exec "${ahead[@]}" "$(dirname "$THIMBLE_BIN")/bench" "$@"
