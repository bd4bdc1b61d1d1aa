#!/usr/bin/env bash
# Every test: unit, property and integration tests, budgets of both release binaries, real clients in the lab.
# The last line says how many ran.
set -eu
. "$(dirname "$0")/env.sh"

"$ROOT/scripts/setup.sh" test
"$ROOT/scripts/layer.sh"
for environment in python node rust; do
  script=$ROOT/scripts/$environment-env.sh
  if [ -x "$script" ]; then
    step "$environment environment"
    "$script"
  fi
done

# The budget tests read these; a file that is named and not there is a failure.
export THIMBLE_BIN THIMBLE_BIN_AARCH64 THIMBLE_LAYERS
THIMBLE_BIN=$(binary "$HOST_ARCH")
THIMBLE_BIN_AARCH64=$(binary aarch64)
THIMBLE_LAYERS=$ROOT/target/layer

step "cargo test"
log=$TARGET/test.log
set +e
cargo test --locked --all-features --no-fail-fast </dev/null 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
set -e

awk '
  /^test result: / { suites++; passed += $4; failed += $6; ignored += $8 }
  END { printf "\n%d passed, %d failed, %d ignored, in %d suites\n", passed, failed, ignored, suites }
' "$log"
exit "$status"
