# ctappliance. "make help" lists the targets.

BIN      := $(CURDIR)/bin
PKGS     ?= ./...
# Extra flags for go test, such as TESTFLAGS=-v.
TESTFLAGS ?=
# make fuzz: time per target. make crash: kills.
T ?= 30s
N ?= 50
# make storm: seed of the first run.
SEED ?= 1
# Packages with goroutines; the race detector makes the others slow for nothing.
RACE_PKGS ?= ./wal/... ./checkpoint/... ./ingest ./ingest/ctlog/... ./store/... ./internal/... ./cmd/...

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GO_WANT := $(shell awk '$$1 == "go" { print $$2 }' go.mod)

# Tests find the engine here unless told otherwise.
ifdef CHDB_LIB_PATH
ENGINE :=
else
ENGINE := engine
CHDB_LIB_PATH := $(BIN)/libchdb.so
endif
export CHDB_LIB_PATH

.DEFAULT_GOAL := build
.PHONY: help go demo run build engine test check race fuzz bench crash storm faults recovery mutate rules soak world pace clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

# Says what to install where Go is missing or older than go.mod asks for. Go
# 1.21 and newer fetch the right version by themselves unless GOTOOLCHAIN=local.
go:
	@command -v go >/dev/null || { echo "make: Go is not installed; install Go $(GO_WANT) or newer from https://go.dev/dl/" >&2; exit 1; }
	@have=$$(go env GOVERSION 2>/dev/null | sed 's/^go//; s/[^0-9.].*//'); \
	[ "$$(printf '%s\n' "$(GO_WANT)" "$$have" | sort -V | head -n 1)" = "$(GO_WANT)" ] || { \
		echo "make: Go $(GO_WANT) or newer is needed, this is $$(GOTOOLCHAIN=local go version 2>&1 | head -n 1); install it from https://go.dev/dl/" >&2; exit 1; }

build: go ## bin/ctappliance
	CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(VERSION)' -o $(BIN)/ctappliance ./cmd/ctappliance

engine: ## bin/libchdb.so, the embedded ClickHouse (570 MB, once)
	@deploy/fetch-engine.sh $(BIN)

demo: build engine ## a log, the appliance and the engine on this machine, in a minute
	$(BIN)/ctappliance demo

run: build ## follow the logs of your configuration: make run ARGS="--config my.yaml"
	$(BIN)/ctappliance run $(ARGS)

test: go $(ENGINE) ## all tests
	CGO_ENABLED=0 go test -timeout 20m $(TESTFLAGS) $(PKGS)

check: go ## format, vet, staticcheck, govulncheck, import rules
	@bad=$$(gofmt -l .) || exit 1; \
		[ -z "$$bad" ] || { echo "make: not formatted, run gofmt -w:" $$bad >&2; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	@.ci/vulncheck
	CGO_ENABLED=0 go test -count=1 ./internal/archtest

# A module of its own: Prometheus's query engine is no part of the appliance.
rules: go ## the alert rules of deploy/prometheus, evaluated
	cd internal/promtest && go vet . && CGO_ENABLED=0 go test -count=1 .

race: go $(ENGINE) ## tests of the concurrent packages under the race detector
	@command -v $${CC:-cc} >/dev/null || command -v gcc >/dev/null || { echo "make: the race detector needs a C compiler: apt-get install gcc" >&2; exit 1; }
	CGO_ENABLED=1 go test -race -timeout 40m $(TESTFLAGS) $(RACE_PKGS)

# One target after the other: go test fuzzes one per run. Short minimising
# keeps the time for finding.
fuzz: go ## every fuzz target for T each: make fuzz T=30s
	@set -e; found=; for pkg in $$(go list $(PKGS)); do \
		list=$$(CGO_ENABLED=0 go test -list '^Fuzz' $$pkg) || { echo "$$list" >&2; exit 1; }; \
		for f in $$(echo "$$list" | grep '^Fuzz' || true); do \
			echo "== $$pkg $$f"; found=1; \
			CGO_ENABLED=0 go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(T) -fuzzminimizetime 100x $$pkg; \
		done; \
	done; [ -n "$$found" ] || { echo "make: no fuzz target found" >&2; exit 1; }

# The stages, each beside what a user would take instead, then the program as a
# whole; everything once more as tables at the end. A quarter of an hour.
STAGES ?= ./ingest ./ingest/ctlog ./ingest/cert ./ingest/inflate ./ingest/shabatch ./wal ./schema ./store
bench: go $(ENGINE) ## stages and the whole program, tables at the end: make bench ARGS="-ledger 10000000 -tail 5m"
	CGO_ENABLED=0 go run ./bench/table \
		go test -run '^$$' -bench . -benchtime 300ms -benchmem -v -timeout 60m $(TESTFLAGS) $(STAGES) -- \
		go test -run '^$$' -bench 'Backfill|Doubt|Ledger|Logs|Tail' -benchtime 1x -v -timeout 0 $(TESTFLAGS) ./bench $(ARGS)

crash: go $(ENGINE) ## kill -9 in a loop: make crash N=50
	CGO_ENABLED=0 go test ./cmd/ctappliance -run TestCrash -crash.n=$(N) -v -timeout 0

# N runs of each variant, from SEED on: about a second of CPU for each run.
storm: go $(ENGINE) ## the appliance against a failing ClickHouse: make storm N=50 SEED=1
	CGO_ENABLED=0 go test ./internal/storm -run 'TestStorm|TestEngine' -storm.runs=$(N) -storm.seed=$(SEED) -v -timeout 0

faults: go $(ENGINE) ## the whole matrix of faults around the real program, a line each
	CGO_ENABLED=0 go test ./cmd/ctappliance -run TestFaults -faults.all -v -timeout 0 $(TESTFLAGS)

mutate: go $(ENGINE) ## removes one guard after the other and wants tests to fail: make mutate ARGS="-pkg wal"
	go run ./internal/mutation $(ARGS)

soak: T := $(if $(filter command,$(firstword $(origin T))),$(T),30m)
soak: go $(ENGINE) ## everything that can happen, one after the other: make soak T=30m
	CGO_ENABLED=0 go test ./cmd/ctappliance -run TestSoak -soak=$(T) $(TESTFLAGS) -v -timeout 0

# A day of fake time takes a minute or two; then the real program for T.
world: T := $(if $(filter command,$(firstword $(origin T))),$(T),30m)
world: go $(ENGINE) ## a local log for every one of the real lists, a day and then really: make world T=30m
	CGO_ENABLED=0 go test ./internal/world -run TestDay -world.day=24h -v -timeout 0 $(TESTFLAGS)
	CGO_ENABLED=0 go test ./bench -run TestWorldSoak -world=$(T) -world.csv=world-soak-$(shell date +%F).csv -v -timeout 0 $(TESTFLAGS)

recovery: go $(ENGINE) ## the way back after kill -9 with 1 GiB of undelivered WAL
	CGO_ENABLED=0 go test ./bench -run TestRecovery -recovery.bytes=1GiB -v -timeout 0 $(TESTFLAGS)

# A fresh seed unless you give one; it is printed.
pace: SEED := $(if $(filter command,$(firstword $(origin SEED))),$(SEED),0)
pace: go ## the pacer against server models, beside two ports: make pace DRAW=200 SEED=7
	CGO_ENABLED=0 go test ./ingest/pace -count=1 -run 'TestNamedModels|TestDrawnModels' -pace.draw=$(or $(DRAW),200) -pace.seed=$(SEED) -pace.ports $(TESTFLAGS) -v -timeout 0

clean: ## remove bin/, the engine with it
	rm -rf $(BIN)
