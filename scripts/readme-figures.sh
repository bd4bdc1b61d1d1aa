#!/usr/bin/env bash
# Measures, and writes the table of figures into the README. A missed target does not keep it out.
set -eu
. "$(dirname "$0")/env.sh"

table=$TARGET/figures.md
mkdir -p "$TARGET"
"$ROOT/scripts/bench.sh" --markdown >"$table" || echo "a target was missed"
grep -q '^| figure' "$table" || fail "the benchmark printed no table"

cpu=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)
where="$(nproc) x ${cpu:-$HOST_ARCH}, Linux $(uname -r | cut -d - -f 1), $(rustc --version | cut -d ' ' -f 1,2)"
awk -v table="$table" -v where="$where" '
  /^<!-- figures/ {
    print
    while ((getline line <table) > 0) print line
    printf "\n%s\n", where
    skip = 1
  }
  /^<!-- \/figures/ { skip = 0 }
  !skip { print }
' README.md >"$table.readme"
cat "$table.readme" >README.md
