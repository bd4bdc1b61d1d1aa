#!/usr/bin/env bash
# fuzz.sh [TARGET] [SECONDS]: builds a fuzz target and runs it, starting from its corpus; without TARGET each in turn. What
# is new and reaches further goes into the corpus, which `fuzz.sh minimise TARGET` then makes small.
#
# The compiler is the same stable one: coverage is a pass of LLVM, and libFuzzer a C++ library that its crate builds. No
# address sanitizer: there is no unsafe code to watch.
set -eu
. "$(dirname "$0")/env.sh"

fuzz=$ROOT/tests/fuzz
export CARGO_TARGET_DIR=$TARGET/fuzz
triple=$HOST_ARCH-unknown-linux-gnu

# build TARGET
build() {
  local flags="-Cpasses=sancov-module -Ccodegen-units=1 -Cllvm-args=-sanitizer-coverage-level=4"
  flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
  flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"
  # With a triple the flags are not for build scripts.
  (cd "$fuzz" && RUSTFLAGS=$flags cargo build --locked --release --target "$triple" --bin "$1")
}

# binary_of TARGET
binary_of() {
  echo "$CARGO_TARGET_DIR/$triple/release/$1"
}

# run TARGET SECONDS
run() {
  step "fuzz $1 for $2 s"
  build "$1"
  mkdir -p "$fuzz/corpus/$1" "$CARGO_TARGET_DIR/found"
  "$(binary_of "$1")" -max_total_time="$2" -max_len=16384 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
    -artifact_prefix="$CARGO_TARGET_DIR/found/$1-" "$fuzz/corpus/$1"
}

# minimise TARGET: keeps the smallest inputs that reach what the corpus reaches.
minimise() {
  step "minimise the corpus of $1"
  build "$1"
  local kept=$CARGO_TARGET_DIR/minimised/$1
  rm -rf "$kept"
  mkdir -p "$kept"
  "$(binary_of "$1")" -set_cover_merge=1 "$kept" "$fuzz/corpus/$1"
  rm -rf "$fuzz/corpus/$1"
  cp -r "$kept" "$fuzz/corpus/$1"
}

if [ "${1:-}" = minimise ]; then
  minimise "$2"
  exit
fi
targets=${1:-}
if [ -z "$targets" ]; then
  targets=$(cd "$fuzz/targets" && echo *.rs | sed 's/\.rs//g')
fi
for target in $targets; do
  run "$target" "${2:-60}"
done
