#!/usr/bin/env bash
# Packs target/layer/thimble-<arch>.zip for both architectures.
set -eu
. "$(dirname "$0")/env.sh"

"$ROOT/scripts/setup.sh" layer
mkdir -p "$ROOT/target/layer"
packer=$("$ROOT/scripts/layer-env.sh")
for arch in x86_64 aarch64; do
  "$ROOT/scripts/build.sh" "$arch"
  "$packer" "$ROOT/scripts/layer.py" "$(binary "$arch")" "$ROOT/target/layer/thimble-$arch.zip"
done
