# Sourced by the other scripts: moves to the repository's root and says where things are built.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
case $TARGET in /*) ;; *) TARGET=$ROOT/$TARGET ;; esac
export CARGO_TARGET_DIR=$TARGET

# The machine's own architecture, as in a target triple.
HOST_ARCH=$(uname -m)
if [ "$HOST_ARCH" = arm64 ]; then HOST_ARCH=aarch64; fi

# binary ARCH: where the release binary of ARCH is.
binary() {
  echo "$TARGET/$1-unknown-linux-musl/release/thimble"
}

# step WORDS: a heading in the output.
step() {
  printf '\n== %s\n' "$*"
}

# fail WORDS: says why and ends.
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# release_flags: exports the compiler's flags for release builds. Two clones give the same bytes: no path of this
# machine is in the binary.
release_flags() {
  local separator=$'\x1f' flags=(
    "--remap-path-prefix=$ROOT=/thimble" # of prefixes that nest, the last one counts
    "--remap-path-prefix=$TARGET=/target"
    "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
  )
  CARGO_ENCODED_RUSTFLAGS=$(IFS=$separator; echo "${flags[*]}")
  export CARGO_ENCODED_RUSTFLAGS
}
