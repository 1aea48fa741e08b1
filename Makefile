# zstart's tasks; `make help` lists them. Every target can be run again. Tools that are built once are kept in
# a cache outside this folder (XDG_CACHE_HOME, or ~/.cache).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# A build of everything takes a tenth less time without incremental state, and 6 GB less. Where you change code, set
# CARGO_INCREMENTAL=1.
export CARGO_INCREMENTAL ?= 0

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/zstart
NEXTEST_VERSION := 0.9.151
DENY_VERSION := 0.20.2
NEXTEST := $(CACHE)/cargo/nextest-$(NEXTEST_VERSION)/bin/cargo-nextest
FUZZ_VERSION := 0.13.1
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= reference challenge manifest layer transcode
FUZZ := $(CACHE)/cargo/fuzz-$(FUZZ_VERSION)/bin/cargo-fuzz
SBOM_VERSION := 0.10.0
SBOM := $(CACHE)/cargo/sbom-$(SBOM_VERSION)/bin/cargo-sbom
DENY := $(CACHE)/cargo/deny-$(DENY_VERSION)/bin/cargo-deny
MDBOOK_VERSION := 0.5.4
MDBOOK := $(CACHE)/cargo/mdbook-$(MDBOOK_VERSION)/bin/mdbook
MERMAID_VERSION := 0.17.1
MERMAID := $(CACHE)/cargo/mdbook-mermaid-$(MERMAID_VERSION)/bin/mdbook-mermaid
HOST := $(shell rustc --print host-tuple)
DEBUG := target/$(HOST)/debug
RELEASE := target/$(HOST)/release
AARCH64 := aarch64-unknown-linux-gnu
# Checks each access of C code that is built for AddressSanitizer, too.
SANITIZED_C := CFLAGS_$(subst -,_,$(HOST))="-fsanitize=address -fno-omit-frame-pointer"
# Tests wait two thirds of their time for servers to start and for retries, so a core runs three.
TEST_THREADS ?= $(shell echo $$((3 * $$(nproc))))
ROOT := $(filter 0,$(shell id -u))
NEEDS_ROOT := the tests of a whole cluster (binary "cluster"), which create namespaces. Run: sudo make test

# Options for tools that run for seconds: a fast build matters more than fast code.
QUICK := CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## Convert a real image and start a pod from the variant in a new cluster (KEEP=1 keeps the cluster)
	@tests/first-result.sh $(DEBUG)
	@echo "==> building zstart's other programs (a minute on 2 cores the first time)"
	@tests/download-sources.sh & cargo build --workspace --bin lab --bin zstart-controller --bin zstart-webhook
	@$(DEBUG)/lab demo $(if $(KEEP),--keep)

.PHONY: pictures
pictures: ## Make the pictures of the README from the results of the last `make run`; needs Chromium
	docs/pictures/make.sh target/run

.PHONY: test
test: ## Run the tests; those of a cluster need root (ROOTLESS=1 skips them without an error)

.PHONY: test-all
test-all: ## Run the tests, and the longer ones of whole clusters

test test-all: build tools $(NEXTEST)
	@$(if $(ROOT),,echo '==> SKIPPED without root: $(NEEDS_ROOT)' >&2)
	cargo test --quiet --workspace --doc
	$(NEXTEST) nextest run --workspace --test-threads $(TEST_THREADS) $(if $(filter test-all,$@),--ignore-default-filter) \
	  $(if $(ROOT),,-E 'not binary(=cluster)')
	@$(if $(ROOT)$(filter 1,$(ROOTLESS)),,echo 'error: skipped without root: $(NEEDS_ROOT) (ROOTLESS=1 accepts the skip)' >&2; exit 1)

# Shares all libraries with `make run`: tests/Cargo.toml asks for the features that only tests need.
.PHONY: build
build: ## Build all binaries and tests, without optimisation
	@echo "==> building zstart and its tests (about 8 minutes on 2 cores the first time)"
	cargo build --workspace --bins --tests

.PHONY: differential
differential: build ## Compare decisions with the real scheduler: 5 seeds of 1,000 nodes and 3,000 pods (6 minutes; ZSTART_SEED=n starts at n)
	cargo test --quiet --workspace --test scheduler -- --ignored --nocapture

.PHONY: bench
bench: ## Compare zstart with other tools on real images, in alternation (15 minutes)
	@echo "==> building zstart (release binaries; 5 to 7 minutes on 2 cores the first time)"
	cargo build --release --package zstart-cli --package zstart-tests --bins
	@$(RELEASE)/bench --zstart $(RELEASE)/zstart

.PHONY: bench-layers
bench-layers: ## Compare the transcoder with zstd's levels on single layers of five kinds and twelve gzip encoders (16 minutes)
	@echo "==> building the benchmark (release binaries; 5 to 7 minutes on 2 cores the first time)"
	cargo build --release --package zstart-tests --bin bench
	@$(RELEASE)/bench --layers

.PHONY: bench-node
bench-node: ## Measure how fast nodes decode gzip and zstd layers, for `zstart tune` (2 minutes)
	@echo "==> building the benchmark (release binaries; 5 to 7 minutes on 2 cores the first time)"
	cargo build --release --package zstart-tests --bin bench
	@$(RELEASE)/bench --node

.PHONY: bench-pull
bench-pull: ## Measure the kubelet's pull of a real image as gzip and zstd, from memory and from disk; needs root (10 minutes)
	@echo "==> building zstart (release binaries; 5 to 7 minutes on 2 cores the first time)"
	cargo build --release --package zstart-cli --package zstart-tests --bins
	@$(RELEASE)/lab pulls --zstart $(RELEASE)/zstart

.PHONY: bench-start
bench-start: ## Compare the start of pods with parallel pulls, SOCI, eStargz, zstd:chunked and pre-pulled images; needs root (about 35 minutes; `lab starts --only lazy` starts some ways)
	@echo "==> building zstart (release binaries; 5 to 7 minutes on 2 cores the first time)"
	cargo build --release --package zstart-cli --package zstart-tests --bins
	@$(RELEASE)/lab starts --zstart $(RELEASE)/zstart

.PHONY: bench-webhook
bench-webhook: ## Measure the webhook at 2,000 reviews a second with 100 to 50,000 records (6 minutes)
	@echo "==> building zstart (release binaries; 5 to 7 minutes on 2 cores the first time)"
	cargo build --release --package zstart-webhook --package zstart-tests --bins
	@$(RELEASE)/bench-webhook --webhook $(RELEASE)/zstart-webhook

.PHONY: inventory
inventory: ## Measure the controller with 10,000 references, 5,000 nodes and 50,000 pods (25 minutes)
	@echo "==> building zstart (release binaries; 5 to 7 minutes on 2 cores the first time)"
	cargo build --release --package zstart-controller --package zstart-tests --bins
	@$(RELEASE)/lab inventory --controller $(RELEASE)/zstart-controller

.PHONY: restraint
restraint: ## Count the requests, events and writes about 1,001 images that can't be converted (31 minutes)
	@echo "==> building zstart (release binaries; 5 to 7 minutes on 2 cores the first time)"
	cargo build --release --package zstart-controller --package zstart-tests --bins
	@$(RELEASE)/lab restraint --controller $(RELEASE)/zstart-controller

.PHONY: soak
soak: ## Restart, upgrade and drain the webhook on a real cluster that creates 25 pods a second (8 minutes; needs root)
	@echo "==> building zstart (release binaries; 5 to 7 minutes on 2 cores the first time)"
	cargo build --release --package zstart-controller --package zstart-webhook --package zstart-cli \
	  --package zstart-tests --bins
	@$(RELEASE)/lab soak

.PHONY: scenarios
scenarios: build tools $(NEXTEST) ## Run the long tests: users' scenarios on whole clusters, and Kueue; needs root (12 minutes, and 5 more to build Kueue once)
	$(NEXTEST) nextest run --workspace --test cluster --test controller --ignore-default-filter --run-ignored only \
	  --no-capture

.PHONY: scanners
scanners: build ## Compare the package lists that syft and trivy make of gzip and of zstd images (4 minutes, and 11 more to build both once)
	@$(DEBUG)/lab scanners

.PHONY: microbench
microbench: ## Measure inflating, hashing, encoding, and the whole conversion of a layer
	@echo "==> building the micro-benchmarks (about 3 minutes on 2 cores the first time)"
	cargo bench --package zstart-codec --bench layer

.PHONY: fuzz
fuzz: $(FUZZ) ## Fuzz each target (FUZZ_TARGETS) for a minute (FUZZ_SECONDS); needs rustup's nightly toolchain
	@for target in $(FUZZ_TARGETS); do \
	  echo "==> fuzzing $$target for $(FUZZ_SECONDS) s (up to 10 minutes on 2 cores the first time, with the build of all targets)"; \
	  mkdir -p $(CACHE)/fuzz/$$target; \
	  PATH="$(dir $(FUZZ)):$$PATH" $(SANITIZED_C) cargo +nightly fuzz run --fuzz-dir fuzz $$target $(CACHE)/fuzz/$$target fuzz/seeds/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -rss_limit_mb=2048 -timeout=120 -print_final_stats=1 \
	    2>&1 | grep -E '^(stat::|==|SUMMARY|thread|error|ERROR)|panicked|Done|artifact' ; \
	done

.PHONY: sanitize
sanitize: ## Run the transcoder's tests under AddressSanitizer, with zstd's C code; needs rustup's nightly toolchain
	$(SANITIZED_C) RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=target/sanitize \
	  cargo +nightly test --package zstart-transcode --lib --target $(HOST)

.PHONY: miri
miri: ## Run those of the transcoder's tests under Miri that call no C code (up to 12 minutes); needs rustup's nightly toolchain
	rustup component add --toolchain nightly miri rust-src
	CARGO_TARGET_DIR=target/miri cargo +nightly miri test --package zstart-transcode --lib -- tests::sequences

.PHONY: test-aarch64
test-aarch64: ## Run the transcoder's tests on AArch64, which qemu emulates
	@rustup target add $(AARCH64)
	@missing=; for program in aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu qemu-aarch64-static:qemu-user-static; do \
	  command -v $${program%%:*} >/dev/null || missing="$$missing $${program##*:}"; done; \
	if [ -n "$$missing" ]; then $(if $(ROOT),\
	  echo "==> installing$$missing"; apt-get update -qq; \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing libc6-dev-arm64-cross,\
	  echo "error: Debian packages are missing:$$missing libc6-dev-arm64-cross; install them and try again" >&2; exit 1); fi
	CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc \
	  CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
	  CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=qemu-aarch64-static \
	  cargo test --package zstart-transcode --lib --target $(AARCH64)

.PHONY: check
check: format lint doc book licences generated test-all ## Run every check: formatting, lints, documentation, licences, generated files, all tests

.PHONY: format
format: ## Check the formatting
	cargo fmt --all --check

.PHONY: lint
lint: ## Run clippy with warnings denied
	cargo clippy --workspace --all-targets -- --deny warnings

.PHONY: doc
doc: ## Build the crates' documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --exclude zstart-tests

# A page's links to files outside of docs/ lead to the repository in the book. mdbook-mermaid draws the pictures of
# docs/architecture.md; its `install` adds its script to the copy of docs/.
.PHONY: book
book: $(MDBOOK) $(MERMAID) ## Build the documents as a book in target/book
	@rm -rf target/book target/book-source
	@mkdir -p target
	@cp -R docs target/book-source
	@sed -i 's|](\.\./|](https://github.com/zstart/zstart/blob/main/|g' target/book-source/*.md
	@RUST_LOG=error $(MERMAID) install target/book-source
	PATH="$(dir $(MERMAID)):$$PATH" $(MDBOOK) build target/book-source --dest-dir $(CURDIR)/target/book
	@cd target/book && rm book.toml book.css mermaid.min.js mermaid-init.js

.PHONY: licences
licences: $(DENY) ## Check the licences, sources and bans of all dependencies
	$(DENY) --workspace check licenses bans sources

.PHONY: generate
generate: build ## Regenerate the generated files
	$(DEBUG)/zstart crd > charts/zstart/files/crd.yaml
	$(DEBUG)/zstart reference > docs/cli.md
	@$(DEBUG)/lab generate

.PHONY: generated
generated: build ## Check that the generated files match the code
	$(DEBUG)/zstart crd | diff charts/zstart/files/crd.yaml - \
	  || { echo "charts/zstart/files/crd.yaml does not match the definitions in crates/core; run: make generate" >&2; exit 1; }
	$(DEBUG)/zstart reference | diff docs/cli.md - \
	  || { echo "docs/cli.md does not match the program; run: make generate" >&2; exit 1; }
	@$(DEBUG)/lab generate --check

.PHONY: tools
tools: build ## Find or build Kubernetes and the other components that tests need
	@$(DEBUG)/lab tools

.PHONY: lab
lab: build ## Start a single-node cluster with a registry, and open a shell in it
	@$(DEBUG)/lab up

.PHONY: images
images: $(SBOM) ## Build the context of zstart's two images in dist/image (release binaries), and an SBOM of each in dist
	cargo build --release --package zstart-controller --package zstart-webhook
	deploy/context.sh dist/image $(RELEASE)
	@$(MAKE) --no-print-directory sbom

.PHONY: sbom
sbom: $(SBOM) ## List the crates in each image: dist/IMAGE.spdx.json and dist/IMAGE.cdx.json
	@mkdir -p dist
	@for program in controller webhook; do \
	  $(SBOM) sbom --cargo-package zstart-$$program --output-format spdx_json_2_3 > dist/zstart-$$program.spdx.json; \
	  $(SBOM) sbom --cargo-package zstart-$$program --output-format cyclone_dx_json_1_6 > dist/zstart-$$program.cdx.json; \
	  echo "dist/zstart-$$program.spdx.json dist/zstart-$$program.cdx.json"; \
	done

.PHONY: plugin
plugin: ## Pack the command line as a plugin of kubectl, with its manifest for krew, in dist/plugin (release binary)
	cargo build --release --package zstart-cli
	deploy/krew/package.sh $(RELEASE)/zstart dist/plugin

$(NEXTEST):
	@echo "==> building cargo-nextest $(NEXTEST_VERSION) (about 3 minutes on 2 cores, once)"
	$(QUICK) cargo install --locked --quiet cargo-nextest@$(NEXTEST_VERSION) --no-default-features \
	  --features default-no-update --root $(CACHE)/cargo/nextest-$(NEXTEST_VERSION)

$(FUZZ):
	@echo "==> building cargo-fuzz $(FUZZ_VERSION) (about a minute on 2 cores, once)"
	$(QUICK) cargo install --locked --quiet cargo-fuzz@$(FUZZ_VERSION) --root $(CACHE)/cargo/fuzz-$(FUZZ_VERSION)

$(MDBOOK):
	@echo "==> building mdbook $(MDBOOK_VERSION) (about 2 minutes on 2 cores, once)"
	$(QUICK) cargo install --locked --quiet mdbook@$(MDBOOK_VERSION) --no-default-features \
	  --root $(CACHE)/cargo/mdbook-$(MDBOOK_VERSION)

$(MERMAID):
	@echo "==> building mdbook-mermaid $(MERMAID_VERSION) (about 2 minutes on 2 cores, once)"
	$(QUICK) cargo install --locked --quiet mdbook-mermaid@$(MERMAID_VERSION) \
	  --root $(CACHE)/cargo/mdbook-mermaid-$(MERMAID_VERSION)

$(SBOM):
	@echo "==> building cargo-sbom $(SBOM_VERSION) (about a minute on 2 cores, once)"
	$(QUICK) cargo install --locked --quiet cargo-sbom@$(SBOM_VERSION) --root $(CACHE)/cargo/sbom-$(SBOM_VERSION)

$(DENY):
	@echo "==> building cargo-deny $(DENY_VERSION) (about 3 minutes on 2 cores, once)"
	$(QUICK) cargo install --locked --quiet cargo-deny@$(DENY_VERSION) --root $(CACHE)/cargo/deny-$(DENY_VERSION)
