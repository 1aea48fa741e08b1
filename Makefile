# zstart: `make help` lists what there is. Every target can be run again; what is built once is kept
# in a cache outside this folder (XDG_CACHE_HOME, or ~/.cache).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/zstart
NEXTEST_VERSION := 0.9.151
DENY_VERSION := 0.20.2
NEXTEST := $(CACHE)/cargo/nextest-$(NEXTEST_VERSION)/bin/cargo-nextest
FUZZ_VERSION := 0.13.1
FUZZ_SECONDS ?= 60
FUZZ := $(CACHE)/cargo/fuzz-$(FUZZ_VERSION)/bin/cargo-fuzz
DENY := $(CACHE)/cargo/deny-$(DENY_VERSION)/bin/cargo-deny
LAB := cargo run --quiet --package zstart-tests --bin lab --
RELEASE := target/$(shell rustc --print host-tuple)/release
ROOT := $(filter 0,$(shell id -u))
NEEDS_ROOT := the tests of a whole cluster (binary "cluster"): they make namespaces. Run: sudo make test

# These two are run for seconds: built fast rather than to be fast.
QUICK := CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## Convert a real image and start a pod from it, on a real cluster made for it (KEEP=1 leaves it up)
	@echo "==> building zstart (release binaries; 5 to 7 minutes on 2 cores the first time)"
	cargo build --release --package zstart-controller --package zstart-webhook --package zstart-cli \
	  --package zstart-tests --bins
	@$(RELEASE)/lab demo $(if $(KEEP),--keep)

.PHONY: test
test: tools $(NEXTEST) ## Run every test, the whole cluster included (ROOTLESS=1 accepts to do without, where there is no root)
	@echo "==> building zstart and its tests (about 3 minutes on 2 cores the first time)"
	cargo build --workspace --bins
	@$(if $(ROOT),,echo '==> LEFT OUT without root: $(NEEDS_ROOT)' >&2)
	$(NEXTEST) nextest run --workspace $(if $(ROOT),,-E 'not binary(=cluster)')
	@$(if $(ROOT)$(filter 1,$(ROOTLESS)),,echo 'error: left out without root: $(NEEDS_ROOT) (ROOTLESS=1 accepts that)' >&2; exit 1)

.PHONY: bench
bench: ## Convert real images with zstart and with other tools, in turns, and compare (15 minutes)
	@echo "==> building zstart (release binaries; 5 to 7 minutes on 2 cores the first time)"
	cargo build --release --package zstart-cli --package zstart-tests --bins
	@$(RELEASE)/bench --zstart $(RELEASE)/zstart

.PHONY: microbench
microbench: ## Measure inflate, hash, encode, and all of a layer's way at once
	@echo "==> building the micro-benchmarks (about 3 minutes on 2 cores the first time)"
	cargo bench --package zstart-codec --bench layer

.PHONY: fuzz
fuzz: $(FUZZ) ## Fuzz each target for a minute (FUZZ_SECONDS); needs the nightly toolchain of rustup
	@for target in reference challenge manifest layer; do \
	  echo "==> fuzzing $$target for $(FUZZ_SECONDS) s (the first time, with the build of all: up to 10 minutes on 2 cores)"; \
	  mkdir -p $(CACHE)/fuzz/$$target; \
	  PATH="$(dir $(FUZZ)):$$PATH" cargo +nightly fuzz run --fuzz-dir fuzz $$target $(CACHE)/fuzz/$$target fuzz/seeds/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -rss_limit_mb=1024 -timeout=10 -print_final_stats=1 \
	    2>&1 | grep -E '^(stat::|==|SUMMARY|thread|error|ERROR)|panicked|Done|artifact' ; \
	done

.PHONY: check
check: format lint licences generated test ## The gate: formatting, lints, licences, generated files, tests

.PHONY: format
format: ## Check the formatting
	cargo fmt --all --check

.PHONY: lint
lint: ## Check with clippy, warnings denied
	cargo clippy --workspace --all-targets -- --deny warnings

.PHONY: doc
doc: ## Build the crates' documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --exclude zstart-tests

.PHONY: licences
licences: $(DENY) ## Check licences, sources and bans of all dependencies
	$(DENY) --workspace check licenses bans sources

.PHONY: generate
generate: ## Write the generated files anew
	cargo run --quiet --package zstart-cli -- crd > charts/zstart/files/crd.yaml

.PHONY: generated
generated: ## Check that the generated files are what the code says
	cargo run --quiet --package zstart-cli -- crd | diff charts/zstart/files/crd.yaml - \
	  || { echo "charts/zstart/files/crd.yaml is not what crates/core/src/record.rs says: run make generate" >&2; exit 1; }

.PHONY: tools
tools: ## Find or build Kubernetes and the other real components that tests need
	@$(LAB) tools

.PHONY: lab
lab: ## Start a single-node cluster with a registry, and a shell in it
	@$(LAB) up

.PHONY: images
images: ## Build zstart's two images' context in dist/image (release binaries)
	cargo build --release --package zstart-controller --package zstart-webhook
	deploy/context.sh $(RELEASE) dist/image

$(NEXTEST):
	@echo "==> building cargo-nextest $(NEXTEST_VERSION) (about 3 minutes on 2 cores, once)"
	$(QUICK) cargo install --locked --quiet cargo-nextest@$(NEXTEST_VERSION) --no-default-features \
	  --features default-no-update --root $(CACHE)/cargo/nextest-$(NEXTEST_VERSION)

$(FUZZ):
	@echo "==> building cargo-fuzz $(FUZZ_VERSION) (about a minute on 2 cores, once)"
	$(QUICK) cargo install --locked --quiet cargo-fuzz@$(FUZZ_VERSION) --root $(CACHE)/cargo/fuzz-$(FUZZ_VERSION)

$(DENY):
	@echo "==> building cargo-deny $(DENY_VERSION) (about 3 minutes on 2 cores, once)"
	$(QUICK) cargo install --locked --quiet cargo-deny@$(DENY_VERSION) --root $(CACHE)/cargo/deny-$(DENY_VERSION)
