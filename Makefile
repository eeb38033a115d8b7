# strata. `make demo` and `make test` set up what they need.
SHELL := bash
.SHELLFLAGS := -o pipefail -ec
export PATH := $(PATH):/usr/sbin:/sbin
GO ?= go
ARGS ?=
ROUNDS ?= 20
SEED ?= 1
TIMEOUT ?= 18m
SOAK ?= ./core/... ./canal/... ./sync/soak ./cmd/strata

.PHONY: build demo test soak mutants lint setup setup-test clean help

help: ## this list
	@grep -hE '^[a-zA-Z%-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

build: ## bin/strata
	$(GO) build -o bin/strata ./cmd/strata

setup: ## the Debian packages that the demo needs, where missing
	@.ci/setup.sh mariadbd=mariadb-server-core

setup-test: ## what the tests need, where missing: Debian packages; MySQL, a real Kafka and Elasticsearch, npm packages where they can be had
	@.ci/setup.sh mariadbd=mariadb-server-core mariadb=mariadb-client-core sysbench=sysbench
	@.ci/mysql.sh
	@.ci/java.sh kafka connect elastic
	@.ci/npm.sh core/http/testdata/client

demo: setup build ## the whole path on private servers; ARGS=--once ends after the proof
	bin/strata demo $(ARGS)

test: setup-test build ## every test, with totals
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) run .ci/stack.go -- $(GO) test -race -shuffle=on -p 2 -timeout $(TIMEOUT) -json ./... | $(GO) run .ci/totals.go

soak: setup-test build ## ROUNDS= kills of everything, SEED=, SOAK=./canal/... for a part; hours if need be
	STRATA_SOAK_ROUNDS=$(ROUNDS) STRATA_SOAK_SEED=$(SEED) $(GO) test -count=1 -timeout 12h -run "^TestSoak" -v $(SOAK)

mutants: setup-test ## each law's mutation must turn its test red
	$(GO) run .ci/mutants.go $(ARGS)

bench-%: setup build ## a benchmark by name: bench-pipeline, bench-query
	$(GO) run ./bench $* $(ARGS)

lint: ## golangci-lint from its own module file
	$(GO) tool -modfile=.ci/lint/go.mod golangci-lint run ./...

clean: ## what was built
	rm -rf bin
