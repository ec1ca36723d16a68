# What one does with Countersign. `make` alone lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help build deb demo test browser simulate bench bench-micro profile faults incident fmt lint clean deps-build deps-test deps-deb deps-browser
MAKEFLAGS += --no-print-directory

SWIFT ?= swift
# Everything is built in one configuration, so that nothing is compiled twice.
SWIFT_BUILD = $(SWIFT) build -c release
SOURCES = Package.swift Sources Tests bench/micro

help: ## list the targets
	@echo "make <target>:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s%s\n", $$1, $$2 }' Makefile

build: deps-build ## build the proxy: .build/release/countersign
	$(SWIFT_BUILD) --product countersign

deb: build deps-deb ## make the Debian package: .build/countersign_VERSION_ARCH.deb
	@packaging/deb/build .build/release/countersign .build

demo: build ## show it work, then serve until interrupted; ONCE=1 ends after the show
	$(SWIFT_BUILD) --product printer-monitor
	@conf/demo/run $(if $(ONCE),--once)

test: deps-test ## run every test, as CI does
	@# All at once: what does not depend on each other is built side by side.
	$(SWIFT_BUILD) --build-tests
	@# Each step of the micro-benchmark checks what it does; its numbers are not looked at here.
	@.build/release/countersign-micro --quick > /dev/null
	@.ci/readme
	@.ci/alone conf/demo/run --once
	@.ci/deb
	@.ci/schema
	@Tests/Simulation/mutants/run --check
	@.ci/migrating
	@# The sample backend is asynchronous and shares few threads with other tests of its process: it has a run of its own.
	@$(SWIFT) test -c release --skip-build --disable-xctest --filter MonitorTests
	@$(SWIFT) test -c release --skip-build --disable-xctest --skip MonitorTests

browser: build deps-browser ## a headless Chromium loads a page and speaks WebSocket over HTTP/2; installs it
	@Tests/Browser/run

simulate: deps-build ## run the engine against a simulated kernel: SEEDS=1000000 for more than make test does
	$(SWIFT_BUILD) --product simulate
	@Tests/Simulation/run $(or $(SEEDS),20000)

bench: build ## measure it; PEERS=all also beside Envoy, Caddy, Traefik and nghttpx; see bench/
	@bench/run --peers "$(PEERS)" --before "$(BEFORE)"

bench-micro: deps-build ## measure the steps of a request's path by themselves; QUICK=1 for a short look
	@bench/micro/run

profile: deps-build ## measure anew how often each part runs, for the optimizer; see bench/
	@bench/profile/run

faults: build ## one of three servers fails, beside nginx and HAProxy; QUICK=1 for a short one
	@bench/faults/run $(if $(QUICK),--quick)

incident: build ## the accident that this is for, with a real HAProxy and nginx; QUICK=1 for a short one
	@bench/incident/run $(if $(QUICK),--quick)

fmt: ## format the sources
	$(SWIFT) format -i -r $(SOURCES)

lint: ## check the format and which module may use what
	$(SWIFT) format lint -r --strict $(SOURCES)
	@.ci/fences

clean: ## remove what was built, but not what was downloaded
	$(SWIFT) package clean
	rm -rf .build/demo

# What has to be installed; nothing happens where it is.
deps-build:
	@.ci/deps build

deps-test:
	@.ci/deps build deb test

deps-deb:
	@.ci/deps build deb

deps-browser:
	@.ci/deps build browser
