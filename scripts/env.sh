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

# release ARCH WORDS: cargo build for release, with the flags that make two clones give the same bytes: no path of this
# machine is in the binary. They are added to those of .cargo/config.toml, which the environment would replace.
release() {
  local triple=$1-unknown-linux-musl flags="" map
  for map in "$ROOT=/thimble" "$TARGET=/target" "${CARGO_HOME:-$HOME/.cargo}=/cargo"; do # the last one counts
    flags+="'--remap-path-prefix=$map', "
  done
  cargo build --locked --release --target "$triple" --config "target.$triple.rustflags = [$flags]" "${@:2}"
}
