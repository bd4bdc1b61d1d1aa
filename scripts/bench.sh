#!/usr/bin/env bash
# Builds what is measured and prints the table of figures.
#   scripts/bench.sh [--markdown] [start|idle|size|spans|samples|lines|after ...]
set -eu
. "$(dirname "$0")/env.sh"

"$ROOT/scripts/setup.sh" bench >&2
"$ROOT/scripts/layer.sh" >&2
triple=$HOST_ARCH-unknown-linux-musl
release_flags # the floor is built as the binary is
cargo build --locked --release --target "$triple" --features lab --bin floor --bin bench >&2

export THIMBLE_BIN THIMBLE_FLOOR THIMBLE_LAYERS
THIMBLE_BIN=$(binary "$HOST_ARCH")
THIMBLE_FLOOR=$TARGET/$triple/release/floor
THIMBLE_LAYERS=$ROOT/target/layer
exec "$TARGET/$triple/release/bench" "$@"
