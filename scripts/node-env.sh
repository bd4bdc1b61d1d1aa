#!/usr/bin/env bash
# Installs the Node libraries that the lab's tests drive thimble with, and prints the folder that holds node_modules.
# Idempotent, under the target directory. What it does goes to standard error. Exit 3: Node or npm is missing.
#   scripts/node-env.sh [--made]   with --made it only looks: exit 3 when there is none yet
set -euo pipefail

pins=(hot-shots@17.1.1 dd-trace@5.132.0 datadog-lambda-js@12.143.0)

root=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}

say() { echo "node-env: $*" >&2; }

for tool in node npm; do
    if ! command -v "$tool" >/dev/null; then
        say "no $tool found; install Node 18 or later (Debian, Ubuntu: apt-get install nodejs npm)"
        exit 3
    fi
done

hash=$(printf '%s\n' "$(node --version)" "${pins[@]}" | sha256sum | cut -c1-12)
mkdir -p "$target/lab/node"
folder=$(cd "$target/lab/node" && pwd)
if [ "$(cat "$folder/complete" 2>/dev/null)" != "$hash" ]; then
    if [ "${1:-}" = --made ]; then
        say "the Node environment of the tests is not made yet; \`make test\` or scripts/node-env.sh makes it"
        exit 3
    fi
    exec 9>"$target/lab/node-env.lock"
    flock 9
    if [ "$(cat "$folder/complete" 2>/dev/null)" != "$hash" ]; then
        say "installing ${pins[*]} into $folder"
        rm -rf "$folder/node_modules" "$folder/package-lock.json"
        printf '{"private": true}\n' >"$folder/package.json"
        # datadog-lambda-js names dd-trace as a peer; the pins above decide, not its range.
        if ! npm install --prefix "$folder" --no-audit --no-fund --legacy-peer-deps --loglevel=error "${pins[@]}" >&2; then
            say "npm could not install ${pins[*]}; is the registry reachable?"
            exit 3
        fi
        echo "$hash" >"$folder/complete"
    fi
fi
echo "$folder"
