# SPDX-License-Identifier: GPL-2.0
# Everything this repository does; "make help" lists it.

BUILD ?= release
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

help: ## List the targets
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/p' Makefile | expand -t 18
	@echo '  KSRC=/path/to/linux uses that 7.3.x tree instead of Debian'"'"'s package'

deps: ## Install the Debian packages that are missing
	@scripts/deps
fetch: deps ## Get the kernel source into the cache
	@scripts/fetch
assemble: deps ## Unpack, patch and link the overlay: build/linux
	@scripts/assemble
build: deps ## Compile the kernel; BUILD=release (default), debug... or stock-NAME
	@scripts/build $(BUILD)
demo: ## Run the demo on the release kernel, from nothing if need be
	@scripts/demo
test: ## Run all tests on the debug kernel, from nothing if need be
	@scripts/test
kunit: deps ## Run the KUnit suites; KUNIT=glob selects
	@scripts/build debug
	@scripts/kunit
selftest: deps ## Run the TAP selftests; SELFTEST="name..." selects
	@scripts/build debug
	@scripts/selftest $(SELFTEST)
torture: deps ## Everything at once, at random; MINUTES=10, SEED=n, EXPORTER=resource or vfio, KCSAN=1: for races
	@scripts/build $(if $(KCSAN),kcsan,debug)
	@BUILD=$(if $(KCSAN),kcsan,debug) EXPORTER=$(EXPORTER) scripts/torture $(or $(MINUTES),10) $(SEED)
fio: deps ## fio with its buffers in device memory, on all machines; MINUTES=10 in all, SEED=n
	@scripts/build debug
	@scripts/fio $(or $(MINUTES),10) $(SEED)
regress: deps ## Run the kernel's selftests on stock and on ours: any difference? REGRESS="name..." selects
	@scripts/regress $(REGRESS)
bench: deps ## Count instructions against stock; BENCH="group..." selects, PROFILE=1: where they go, FULL=1: also what takes long
	@BENCH_FULL=$(FULL) BENCH_PROFILE=$(PROFILE) scripts/bench $(BENCH)
mutants: deps ## Break the code on purpose: does a test notice? MUTANTS="name..." selects
	@scripts/mutants $(MUTANTS)
model: deps ## Check the protocol model with spin; MODEL="name..." selects
	@scripts/model $(MODEL)
lint: deps ## Check style, sparse, headers and documentation of our files
	@scripts/lint
shell: deps ## Open a shell in the guest (BUILD=, see scripts/vm --help)
	@scripts/build $(BUILD)
	@scripts/vm --build $(BUILD) -- bash
clean: ## Remove build/ (downloads and compiler cache stay)
	@scripts/clean
distclean: clean ## Remove build/, downloads and compiler cache
	@scripts/clean cache

.PHONY: help deps fetch assemble build demo test kunit selftest torture fio regress bench mutants model lint shell clean distclean
