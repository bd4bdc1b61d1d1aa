# Every target sets up what it needs (scripts/setup.sh); the logic is in scripts/.

ARCH ?= $(shell uname -m)

.PHONY: help build layer check test demo bench fuzz clean

help:
	@echo "make build ARCH=x86_64|aarch64   the static release binary"
	@echo "make layer                       both layers: target/layer/thimble-<arch>.zip"
	@echo "make check                       formatting, lints, documentation"
	@echo "make test                        every test, with real clients"
	@echo "make demo                        a Python function in a local Lambda, and what arrived at the intake"
	@echo "make bench                       the table of figures"
	@echo "make fuzz TARGET=v04 SECONDS=60  one fuzz target, or each in turn"

build:
	@scripts/build.sh $(ARCH)

layer:
	@scripts/layer.sh

check:
	@scripts/check.sh

test:
	@scripts/test.sh

demo:
	@scripts/demo.sh

bench:
	@scripts/bench.sh

fuzz:
	@scripts/fuzz.sh "$(TARGET)" "$(SECONDS)"

clean:
	cargo clean
