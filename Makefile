# make help lists the targets. All that they need is Go; see CONTRIBUTING.md.

GO ?= go
export CGO_ENABLED ?= 0

.PHONY: help build demo test bench lint clean test-engines sim fuzz soak lab-up lab-down

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

build: ## build bin/roll, and bin/roll-init
	$(GO) build -trimpath -ldflags "-s -w" -o bin/ ./cmd/...
	for arch in amd64 arm64; do GOOS=linux GOARCH=$$arch $(GO) build -trimpath -ldflags "-s -w" -o bin/roll-init-linux-$$arch ./cmd/roll-init || exit 1; done

demo: ## roll a real service behind a real Traefik under load
	$(GO) run ./internal/demo

test: ## lint, unit tests, end-to-end tests; the last line counts
	@$(GO) run ./internal/suite test

lint: ## gofmt, go vet, staticcheck
	@$(GO) run ./internal/suite lint

bench: ## where the time of a roll goes
	$(GO) test -tags e2e -bench . -run '^$$' -benchtime 1x -timeout 60m ./internal/bench

ENGINES ?= 20.10 28.5
test-engines: ## the end-to-end tests on each of ENGINES
	@$(GO) run ./internal/suite engines $(ENGINES)

SIM_WORLDS ?= 100000
sim: ## many random worlds with faults
	SIM_WORLDS=$(SIM_WORLDS) $(GO) test -v -count=1 -timeout 4h -run Sim ./deploy

FUZZ_TIME ?= 30s
fuzz: ## every fuzz target for FUZZ_TIME
	@for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "== $$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZ_TIME) $$package || exit 1; \
		done; \
	done

SOAK_ROLLS ?= 1000
SOAK_TIME ?=
soak: ## SOAK_ROLLS rolls in a row on a real engine, or as many as SOAK_TIME allows
	SOAK_ROLLS=$(SOAK_ROLLS) SOAK_TIME=$(SOAK_TIME) $(GO) test -tags e2e -v -count=1 -timeout 8h -run InARow ./cmd/roll ./deploy

lab-up: ## bring up engine, Compose, Traefik and images
	@$(GO) run ./internal/lab/cmd/lab up

lab-down: ## take down what lab-up started
	@$(GO) run ./internal/lab/cmd/lab down

clean: lab-down ## remove what was built; the lab's caches stay
	rm -rf bin dist
