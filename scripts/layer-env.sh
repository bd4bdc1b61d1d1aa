#!/usr/bin/env bash
# Makes the virtual environment that packs the layers, and prints its interpreter's path. Idempotent, under the target
# directory; what it does goes to standard error. The pin makes the archive's bytes the same on every machine.
set -eu
. "$(dirname "$0")/env.sh"

pin=zopfli==0.4.3

venv=$TARGET/layer-env-$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')-${pin##*=}
if [ ! -e "$venv/complete" ]; then
  rm -rf "$venv"
  python3 -m venv "$venv" >&2
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$pin" >&2 ||
    fail "pip could not install $pin; is the package index reachable?"
  touch "$venv/complete"
fi
echo "$venv/bin/python"
