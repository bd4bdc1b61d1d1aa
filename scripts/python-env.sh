#!/usr/bin/env bash
# Makes the virtual environment that the lab's Python functions run in, and prints its interpreter's path.
# Idempotent: one environment per set of pins and per interpreter, under the target directory. What it does goes to
# standard error, so that standard output is the path alone. Exit 3: Python or its parts are missing, and it says which.
#   scripts/python-env.sh [--made]   with --made it only looks: exit 3 when there is none yet
set -euo pipefail

pins=(awslambdaric==4.2.2 datadog_lambda==8.130.0 ddtrace==4.16.0 datadog==0.56.0 redis==7.0.1)

root=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
python=${PYTHON:-python3}

say() { echo "python-env: $*" >&2; }

if ! command -v "$python" >/dev/null; then
    say "no $python found; install it (Debian, Ubuntu: apt-get install python3 python3-venv) or set PYTHON to one"
    exit 3
fi
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2]); sys.exit(sys.version_info < (3, 9))') || {
    say "$python is too old: the Datadog libraries need 3.9 or later"
    exit 3
}
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    say "$python has no venv or no pip (Debian, Ubuntu: apt-get install python3-venv)"
    exit 3
fi

hash=$(printf '%s\n' "$version" "${pins[@]}" | sha256sum | cut -c1-12)
mkdir -p "$target/lab"
venv=$(cd "$target/lab" && pwd)/venv-$hash
if [ ! -e "$venv/complete" ]; then
    if [ "${1:-}" = --made ]; then
        say "the Python environment of the tests is not made yet; \`make test\` or scripts/python-env.sh makes it"
        exit 3
    fi
    exec 9>"$target/lab/python-env.lock"
    flock 9
    if [ ! -e "$venv/complete" ]; then
        say "making $venv (${pins[*]})"
        rm -rf "$venv"
        "$python" -m venv "$venv" >&2
        if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${pins[@]}" >&2; then
            say "pip could not install ${pins[*]}; is the package index reachable?"
            exit 3
        fi
        touch "$venv/complete"
    fi
fi
echo "$venv/bin/python"
