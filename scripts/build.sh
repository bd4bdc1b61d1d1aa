#!/usr/bin/env bash
# Builds the release binary of one architecture, and refuses one that is not static.
#   scripts/build.sh x86_64|aarch64
set -eu
. "$(dirname "$0")/env.sh"

arch=${1:-}
case $arch in
  x86_64) machine='x86-64' ;;
  aarch64) machine='ARM aarch64' ;;
  *) fail "usage: make build ARCH=x86_64|aarch64 (not '$arch')" ;;
esac
"$ROOT/scripts/setup.sh" build "$arch"

# Cargo's configuration has the C compiler for an x86_64 machine.
if [ "$arch" = x86_64 ] && [ "$HOST_ARCH" != x86_64 ]; then
  export CC_x86_64_unknown_linux_musl=x86_64-linux-gnu-gcc
fi
release "$arch" --bin thimble

built=$(binary "$arch")
kind=$(file -b "$built")
case $kind in
  *"$machine"*) ;;
  *) fail "$built is not for $arch: $kind" ;;
esac
case $kind in
  *'statically linked'* | *'static-pie linked'*) ;;
  *) fail "$built is not static: $kind" ;;
esac
# The dynamic loader only answers for its own architecture, and only there does the binary run.
if [ "$arch" = "$HOST_ARCH" ]; then
  libraries=$(ldd "$built" 2>&1 || true)
  case $libraries in
    *'statically linked'* | *'not a dynamic executable'*) ;;
    *) fail "$built needs shared libraries: $libraries" ;;
  esac
  "$built" version >/dev/null || fail "$built does not run: is Rust older than Cargo.toml says?"
fi
printf '%s: %s bytes, static\n' "$built" "$(stat -c %s "$built")"
