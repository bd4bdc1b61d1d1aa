#!/usr/bin/env bash
# Installs what the other scripts need and the machine lacks. Does nothing when everything is there.
#   scripts/setup.sh build ARCH   compilers for ARCH-unknown-linux-musl
#   scripts/setup.sh layer        both architectures, Python for the archive
#   scripts/setup.sh check        rustfmt and clippy
#   scripts/setup.sh test         all of that, qemu, strace, namespaces, Python and Node
#   scripts/setup.sh bench        both architectures, Python, namespaces
#   scripts/setup.sh demo         the host's compiler, namespaces, Python
set -eu
. "$(dirname "$0")/env.sh"

packages=() # Debian packages that are missing
commands=() # the commands they are wanted for

# can_install: whether packages can be installed here.
can_install() {
  command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null; }
}

# need COMMAND PACKAGE...
need() {
  if command -v "$1" >/dev/null; then return; fi
  commands+=("$1")
  packages+=("${@:2}")
}

# cross ARCH: C compiler, linker and Rust's standard library for ARCH.
targets=()
cross() {
  need cc gcc libc6-dev
  need file file
  case $1-$HOST_ARCH in
    x86_64-x86_64) need musl-gcc musl-tools ;;
    x86_64-*) need x86_64-linux-gnu-gcc gcc-x86-64-linux-gnu libc6-dev-amd64-cross ;;
    aarch64-aarch64) need aarch64-linux-gnu-gcc gcc ;;
    aarch64-*) need aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross ;;
    *) fail "unknown architecture $1: x86_64 or aarch64" ;;
  esac
  targets+=("$1-unknown-linux-musl")
}

python() {
  need python3 python3
  if command -v python3 >/dev/null && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    packages+=(python3-venv)
    commands+=("python3 -m venv")
  fi
}

node() {
  need node nodejs
  need npm npm
}

namespaces() {
  need unshare util-linux
  need ip iproute2
}

components=()
case ${1:-} in
  build) cross "$2" ;;
  layer) cross x86_64; cross aarch64; python ;;
  check) need cc gcc libc6-dev; components=(rustfmt clippy) ;;
  test) cross x86_64; cross aarch64; need qemu-aarch64 qemu-user; need strace strace; python; node; namespaces ;;
  bench) cross x86_64; cross aarch64; python; namespaces ;;
  demo)
    cross "$HOST_ARCH"
    # It runs without them, with less to show.
    if can_install; then python; namespaces; fi
    ;;
  *) fail "usage: scripts/setup.sh build ARCH | layer | check | test | bench | demo" ;;
esac

command -v cargo >/dev/null || fail "cargo is missing: install Rust 1.93 or later, with rustup (https://rustup.rs)"

if [ ${#packages[@]} -gt 0 ]; then
  can_install || fail "missing commands: ${commands[*]}. They can only be installed with apt-get, as root or through" \
    "sudo: please install them yourself. In Debian and Ubuntu the packages are: ${packages[*]}"
  as_root=()
  if [ "$(id -u)" != 0 ]; then as_root=(sudo); fi
  step "installing ${packages[*]}"
  "${as_root[@]}" apt-get update -q </dev/null
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${packages[@]}" \
    </dev/null
fi

# has_target TRIPLE: whether the compiler in use has a standard library for it, wherever it came from.
has_target() {
  ls "$(rustc --print sysroot)/lib/rustlib/$1/lib/"libstd-*.rlib >/dev/null 2>&1
}

for triple in "${targets[@]}"; do
  if has_target "$triple"; then continue; fi
  command -v rustup >/dev/null || fail "Rust's standard library for $triple is missing and rustup is not installed"
  step "rustup target add $triple"
  rustup target add "$triple"
done
for component in "${components[@]}"; do
  if cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1; then continue; fi
  command -v rustup >/dev/null || fail "$component is missing and rustup is not installed"
  step "rustup component add $component"
  rustup component add "$component"
done
