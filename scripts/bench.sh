#!/usr/bin/env bash
# Builds what is measured and prints the table. Arguments select rows by prefix.
set -eu
. "$(dirname "$0")/env.sh"

"$ROOT/scripts/setup.sh" test
"$ROOT/scripts/layer.sh"
