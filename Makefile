# The one task runner: people and CI call the same targets. `make` alone lists them.

CARGO ?= cargo
WASM_TARGET := wasm32-wasip1
WASM := dist/pinroute.wasm
NATIVE := dist/libpinroute_native.so
DEV := target/debug/xtask
# How the demo's second Envoy gets its numbers: rtds, cds, eds, ext-proc or failover.
APPROACH ?= rtds

# The command line for images: linked statically, so that it needs nothing else in an image.
STATIC_TARGET := $(shell uname -m)-unknown-linux-musl
STATIC := dist/static/pinroute

# Messages of panics name source files. So that no machine's paths get into the binaries, and the same source
# gives the same bytes everywhere, dependencies are called by what stands behind the registry's folder.
CARGO_HOME ?= $(HOME)/.cargo
REMAP := --remap-path-prefix=$(CARGO_HOME)/registry/src=crates --remap-path-prefix=$(CURDIR)=.
export CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS := $(REMAP)
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS := $(REMAP)
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUSTFLAGS := $(REMAP)

.DEFAULT_GOAL := help
.PHONY: help run test test-native test-matrix prove lint format wasm native native-trap cli static images test-compose bench bench-core trap empty-filter build targets clean

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 16

run: wasm build ## build everything and start the whole demo on loopback; Ctrl-C stops it; APPROACH=rtds|cds|eds|ext-proc|failover
	@exec $(DEV) run --approach $(APPROACH)

test: wasm trap native native-trap empty-filter build ## unit, property, contract and end-to-end tests against a real Envoy
	$(DEV) envoy >/dev/null
	$(CARGO) test --workspace
	PINROUTE_ADAPTER=native $(CARGO) test --workspace --test e2e -- $(NATIVE_TESTS)

# Some of the end-to-end tests with the dynamic module too. `make test-native` runs them all.
NATIVE_TESTS := routing:: cache:: index:: forged:: verify:: live_rtds::pushed live_admin::

test-native: native native-trap build ## the end-to-end tests with the dynamic module in place of the Wasm filter
	PINROUTE_ADAPTER=native $(CARGO) test --workspace --test e2e

test-matrix: wasm trap native native-trap build ## the end-to-end tests on every supported Envoy version, as a table
	@CARGO="$(CARGO)" tests/matrix.sh

lint: format wasm native build ## formatting, clippy, documentation, licences, every shipped Envoy configuration and manifest
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	$(CARGO) clippy --package pinroute --target $(WASM_TARGET) --profile wasm --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet
	$(DEV) licenses
	$(DEV) validate
	$(DEV) manifests

# Before anything is built, because it takes no time.
format:
	$(CARGO) fmt --all --check

prove: wasm native ## what takes long: random requests, xDS streams and API calls by the million, and ten million keys through each cache with a bound on Envoy's memory
	PROPTEST_CASES=2000000 $(CARGO) test --package pinroute-core --test routing hostile
	PROPTEST_CASES=200000 $(CARGO) test --package pinroute-control-plane --lib properties
	PROPTEST_CASES=50000 $(CARGO) test --package pinroute-control-plane --test hostile_api --test hostile_xds
	$(CARGO) build --locked --release --package pinroute-cli --package pinroute-bench
	target/release/pinroute-bench --soak
	target/release/pinroute-bench --soak --native

bench: wasm native empty-filter ## the benchmark, peers side by side in one run, into bench/results/; BENCH=--quick for a look, BENCH=--control-plane for the control plane, BENCH=--approaches for the approaches
	$(CARGO) build --locked --release --package pinroute-cli --package pinroute-bench
	@exec target/release/pinroute-bench $(BENCH)

bench-core: ## the decisions alone in native code: how long they take, and how many instructions (with valgrind)
	$(CARGO) bench --locked --package pinroute-core --bench core
	@command -v valgrind >/dev/null || { echo "valgrind is not installed: no instruction counts"; exit 1; }
	$(CARGO) bench --locked --package pinroute-core --bench instructions

wasm: targets ## only dist/pinroute.wasm, with its sha256 beside it
	@echo "building $(WASM)"
	$(CARGO) build --locked --package pinroute --target $(WASM_TARGET) --profile wasm
	@mkdir -p dist
	@cp target/$(WASM_TARGET)/wasm/pinroute.wasm $(WASM)
	@cd dist && sha256sum pinroute.wasm > pinroute.wasm.sha256
	@echo "$(WASM): $$(wc -c < $(WASM)) bytes, sha256 $$(cut -d' ' -f1 dist/pinroute.wasm.sha256)"

cli: ## only dist/pinroute, the command line with all services
	$(CARGO) build --locked --release --package pinroute-cli
	@mkdir -p dist
	@cp target/release/pinroute dist/pinroute

# What the images hold: built by the Dockerfile, or by `make images` where it cannot pull a base image.
static:
	@rustup target list --installed | grep -qx $(STATIC_TARGET) || rustup target add $(STATIC_TARGET)
	$(CARGO) build --locked --release --target $(STATIC_TARGET) --package pinroute-cli
	@mkdir -p $(dir $(STATIC))
	@cp target/$(STATIC_TARGET)/release/pinroute $(STATIC)

images: wasm build ## the container images pinroute, pinroute-envoy and pinroute-plugin; also where no base image can be pulled
	@$(DEV) images

test-compose: wasm build ## the Compose stack for real, also while parts of it fail, if a Docker engine answers
	@$(DEV) test-compose

# Without libgcc_s, which a small image may lack. The linker takes what is named first.
NATIVE_RUSTFLAGS := $(REMAP) \
	-L native=$(dir $(shell gcc -print-file-name=libgcc_eh.a)) -l static:-bundle=gcc_eh

native: ## only dist/libpinroute_native.so, the same filter as a dynamic module for this machine's architecture
	@echo "building $(NATIVE)"
	RUSTFLAGS="$(NATIVE_RUSTFLAGS)" $(CARGO) build --locked --package pinroute-native --profile native
	@mkdir -p dist
	@cp target/native/libpinroute_native.so $(NATIVE)
	@cd dist && sha256sum libpinroute_native.so > libpinroute_native.so.sha256
	@echo "$(NATIVE): $$(wc -c < $(NATIVE)) bytes, sha256 $$(cut -d' ' -f1 $(NATIVE).sha256)"

# The module with a way to make it panic.
native-trap: native
	@RUSTFLAGS="$(NATIVE_RUSTFLAGS)" $(CARGO) build --locked --quiet --package pinroute-native --profile native --features provoke-trap
	@cp target/native/libpinroute_native.so dist/libpinroute_native_trap.so

# The filter with a way to make it trap, for the tests of what happens then.
trap: wasm
	@$(CARGO) build --locked --quiet --package pinroute --target $(WASM_TARGET) --profile wasm --features provoke-trap
	@cp target/$(WASM_TARGET)/wasm/pinroute.wasm dist/pinroute-trap.wasm

# The filters that do the least: the limits in the benchmark.
empty-filter: targets
	@$(CARGO) build --locked --quiet --package pinroute-empty-filter --target $(WASM_TARGET) --profile wasm
	@mkdir -p dist
	@cp target/$(WASM_TARGET)/wasm/pinroute_empty_filter.wasm dist/empty-filter.wasm

build: targets
	@echo "building the command line and the tools"
	$(CARGO) build --locked --workspace --exclude pinroute --exclude pinroute-empty-filter

# rustup does not install a target by itself where automatic installation is off.
targets:
	@rustup target list --installed | grep -qx $(WASM_TARGET) || rustup target add $(WASM_TARGET)

clean: ## remove what was built; the downloaded Envoy stays
	$(CARGO) clean
	rm -rf dist bench/results
