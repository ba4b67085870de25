# pixied. `make` lists the targets; `make run` and `make test` do all the set-up they need.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# The tests use all cores by themselves.
.NOTPARALLEL:

PYTHON ?= python3
# What the demo's pixied keeps everything in: memory or redis.
ENGINE := memory
BIN := .venv/bin
BUILD := .build
NODE_SDK := client_sdk/node
GO_SDK := client_sdk/go
FAYE := tests/e2e/faye
BENCH := tests/bench/faye
CLIENTS := tests/bayeux/clients
MUTANTS := tests/mutants/node
PACKAGES := $(NODE_SDK) $(FAYE) $(CLIENTS)
GENERATED := client_sdk/python/pixied $(NODE_SDK)/generated $(GO_SDK)/pixied
WRITTEN := server client_sdk/python/pixied_client tests
PROTOS := $(wildcard proto/pixied/v1/*.proto)
# Quiet, but never so quiet that the cause of a failure stays hidden.
PIP := $(BIN)/pip --quiet --disable-pip-version-check --retries 2
NPM := npm --loglevel=error --no-fund --no-audit --no-update-notifier
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
# Everything that make installs with apt, each only where it is missing.
APT_PYTHON := python3-venv
APT_GO := golang-go
APT_REDIS := redis-server
APT_CC := gcc libc6-dev
APT_NGINX := nginx-light
APT_CHROMIUM := chromium
# Go, if it is one that fetches the release which a module needs (1.21 or newer); Debian 12's does not.
GO := $(shell go env GOVERSION 2>/dev/null | grep -E 'go1\.(2[1-9]|[3-9][0-9])')
# The newest grpcurl, and the newest that Debian 12's Go 1.19 builds.
GRPCURL := v1.9.3
GRPCURL_GO119 := v1.8.9
# What makes stubs: Rust's plugins, protoc and Java's plugin.
PROST := protoc-gen-prost@0.5.0
TONIC := protoc-gen-tonic@0.5.0
PROTOC := com.google.protobuf:protoc:4.33.0:exe:linux-x86_64
GRPC_JAVA := io.grpc:protoc-gen-grpc-java:1.76.0:exe:linux-x86_64

# What a step's tool said is above; this is the line that says what it was about, and what to do.
or_say = || { echo "$(1)" >&2; exit 1; }
apt = { command -v apt-get $(SUDO); } >/dev/null $(call or_say,$(1) is needed. Install it: this needs root or sudo and apt); \
	echo "installing $(1) with apt"; \
	{ $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(1) >/dev/null; } \
		$(call or_say,apt could not install $(1); install it by hand and try again)

comma := ,
NO_PIP := pip could not install all packages (above is why). Is the package index reachable? HTTPS_PROXY and PIP_INDEX_URL name another way
NO_NPM := npm could not install all packages (above is why). Is the registry reachable? HTTPS_PROXY and npm_config_registry name another way
NO_CARGO := cargo could not build the plugins (above is why). Is its registry reachable?
NO_MAVEN := Maven could not fetch the plugins (above is why). Is its repository reachable?
NO_GO := go could not build grpcurl (above is why). Is its module proxy reachable? HTTPS_PROXY and GOPROXY name another way

##@ Use
help:  ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(BUILD)/run.stamp  ## install what is needed and start the server; ARGS='--listen ...' are its flags
	@exec $(BIN)/pixied serve $(ARGS)

demo: node $(BUILD)/run.stamp $(filter redis,$(ENGINE))  ## two Faye servers, one is killed, nothing is lost; ENGINE=redis kills a pixied too
	@exec $(BIN)/python -m tests.e2e.demo --engine $(ENGINE) $(ARGS)

demo-web: node nginx $(BUILD)/dev.stamp  ## a chat in the browser, and a button that kills the server you are on
	@exec $(BIN)/python -m tests.bayeux.web.demo $(ARGS)

##@ Work on it
test: integration node-test  ## install what is needed and run all tests, with coverage; ARGS=--durations=40 names the slowest

unit: redis $(BUILD)/dev.stamp  ## the fast tests: core and engine
	PIXIED_HISTORIES=$${PIXIED_HISTORIES:-0.3} $(BIN)/pytest -n auto tests/core tests/engine $(ARGS)

integration: node cc grpcurl nginx redis chromium stubs $(BUILD)/dev.stamp  ## all Python tests, with coverage of the server and the SDK
	rm -f .coverage .coverage.*
	PATH="$(CURDIR)/$(BUILD)/bin:$$PATH" $(BIN)/pytest -n auto --cov --cov-report= $(ARGS)
	$(BIN)/coverage report

node-test: node $(BUILD)/dev.stamp  ## the tests of the Node SDK and the Faye engine
	cd $(NODE_SDK) && PIXIED_BIN="$(CURDIR)/$(BIN)/pixied" $(NPM) test

soak: $(BUILD)/dev.stamp | redis  ## 10 minutes of two pixieds over one Redis with drawn faults; ARGS='--minutes 60'
	@exec $(BIN)/python -m tests.chaos.soak $(ARGS)

mutants: node redis cc $(BUILD)/mutants.stamp  ## put faults into the code, and see which the tests miss; ARGS='delivery --seed 7'
	@exec $(BIN)/python -m tests.mutants $(ARGS)

check: node $(BUILD)/dev.stamp  ## format, lint, types, layers, contract, generated code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd $(NODE_SDK) && $(NPM) run check
	$(NODE_SDK)/node_modules/.bin/buf lint proto
	$(NODE_SDK)/node_modules/.bin/buf format --diff --exit-code proto
	./.ci/breaking $(NODE_SDK)/node_modules/.bin/buf
	$(if $(GO),cd $(GO_SDK) && go vet ./...)
	$(if $(GO),test -z "$$(gofmt -l $(GO_SDK))" $(call or_say,not formatted: run gofmt -w $(GO_SDK)/examples))
	./.ci/generated

format: $(BUILD)/dev.stamp  ## format the code
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

generate: node $(BUILD)/dev.stamp  ## generate code and documentation from the contract and the settings
	rm -rf client_sdk/python/pixied
	mkdir -p client_sdk/python
	$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=client_sdk/python --pyi_out=client_sdk/python $(PROTOS)
	cd $(NODE_SDK) && $(NPM) run generate
	$(if $(GO),rm -rf $(GO_SDK)/pixied && cd proto && ../$(NODE_SDK)/node_modules/.bin/buf generate --template buf.gen.go.yaml --output ../$(GO_SDK),\
		@echo "no Go, or none that can build the plugins: the stubs in $(GO_SDK) stay as they are")
	$(BIN)/python -m pixied_server.settings > docs/settings.md
	$(BIN)/python -m pixied_server.settings into README.md

bench: $(BUILD)/bench.stamp  ## measure against Faye, faye-redis and bare gRPC, in under 10 minutes; ARGS='ROW ...' are some
	@$(BIN)/python -m tests.bench $(ARGS)

bench-quick: $(BUILD)/bench.stamp  ## the same with less work and one round, in under 50 s
	@$(BIN)/python -m tests.bench --quick $(ARGS)

clean:  ## remove everything that make made
	rm -rf .venv $(BUILD) $(addsuffix /node_modules,$(PACKAGES)) $(NODE_SDK)/dist client_sdk/java/target $(BENCH)/node_modules $(MUTANTS)/node_modules bench bench.json tests/output
	find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help run demo demo-web test unit integration node-test soak mutants check format generate bench bench-quick clean node cc grpcurl stubs nginx redis chromium

# Set-up

.venv/pyvenv.cfg:
	@command -v $(PYTHON) >/dev/null $(call or_say,Python 3.11 or newer is needed$(comma) and $(PYTHON) was not found)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		$(call or_say,Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=...)
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(call apt,$(APT_PYTHON)); }
	@echo "making a Python environment in .venv"
	@$(PYTHON) -m venv .venv
	@# Older pips do not know dependency groups.
	@$(PIP) install --upgrade 'pip>=25.1' $(call or_say,$(NO_PIP))

$(BUILD)/run.stamp: .venv/pyvenv.cfg pyproject.toml client_sdk/python/pyproject.toml
	@echo "installing pixied"
	@$(PIP) install -e client_sdk/python -e . $(call or_say,$(NO_PIP))
	@mkdir -p $(BUILD) && touch $@

$(BUILD)/dev.stamp: $(BUILD)/run.stamp
	@echo "installing what the tests and checks need"
	@$(PIP) install --group dev $(call or_say,$(NO_PIP))
	@touch $@

$(BUILD)/mutants.stamp: $(BUILD)/dev.stamp $(MUTANTS)/package.json $(MUTANTS)/package-lock.json
	@echo "installing what puts faults in"
	@$(PIP) install --group mutants $(call or_say,$(NO_PIP))
	@cd $(MUTANTS) && $(NPM) ci $(call or_say,$(NO_NPM))
	@touch $@

node: $(BUILD)/node.stamp

$(BUILD)/packages.stamp: $(addsuffix /package-lock.json,$(PACKAGES)) $(addsuffix /package.json,$(PACKAGES))
	@{ command -v node && command -v npm; } >/dev/null \
		$(call or_say,Node 20 or newer with npm is needed for the Node SDK$(comma) the demo and the tests; it was not found)
	@node -e 'process.exit(+(process.versions.node.split(".")[0] < 20))' \
		$(call or_say,Node 20 or newer is needed; this is $$(node --version))
	@echo "installing the Node packages: the SDK's, Faye, CometD's client"
	@for folder in $(PACKAGES); do (cd $$folder && $(NPM) ci) $(call or_say,$(NO_NPM)); done
	@mkdir -p $(BUILD) && touch $@

$(BUILD)/node.stamp: $(BUILD)/packages.stamp $(NODE_SDK)/tsconfig.build.json $(shell find $(NODE_SDK)/src $(NODE_SDK)/generated -name '*.ts')
	@cd $(NODE_SDK) && npm run build --silent $(call or_say,the Node SDK does not compile)
	@touch $@

# Its command is in a folder that not every user's PATH has.
nginx:
	@PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null || { $(call apt,$(APT_NGINX)); }

# Tests and benchmarks start servers of their own, which Debian's service is not.
redis:
	@command -v redis-server >/dev/null || { $(call apt,$(APT_REDIS)); }

# Tests give a Redis a clock of its own, which can be set.
cc:
	@command -v cc >/dev/null || { $(call apt,$(APT_CC)); }

$(BUILD)/bench.stamp: $(BUILD)/node.stamp $(BUILD)/dev.stamp $(BENCH)/package.json $(BENCH)/package-lock.json | redis
	@cd $(BENCH) && $(NPM) ci $(call or_say,$(NO_NPM))
	@touch $@

chromium:
	@command -v chromium >/dev/null || { $(call apt,$(APT_CHROMIUM)); }

grpcurl: $(BUILD)/bin/grpcurl

$(BUILD)/bin/grpcurl:
	@mkdir -p $(BUILD)/bin
	@command -v go >/dev/null || { $(call apt,$(APT_GO)); }
	@echo "building grpcurl, once: this takes a minute or two"
	@minor=$$(go env GOVERSION | sed -E 's/go1\.([0-9]+).*/\1/'); \
		version=$(GRPCURL); [ "$$minor" -ge 21 ] || version=$(GRPCURL_GO119); \
		GOBIN="$(CURDIR)/$(BUILD)/bin" go install github.com/fullstorydev/grpcurl/cmd/grpcurl@$$version $(call or_say,$(NO_GO))

# Only where their compilers are: the tests of the others are skipped.
stubs: $(if $(shell command -v cargo),$(BUILD)/bin/protoc-gen-tonic) \
	$(if $(and $(shell command -v mvn),$(filter Linux-x86_64,$(shell uname -sm | tr ' ' -))),$(BUILD)/bin/protoc)

$(BUILD)/bin/protoc-gen-tonic:
	@echo "building the plugins for Rust, once: this takes a minute or two"
	@cargo install --quiet --locked --root $(BUILD) $(PROST) $(TONIC) $(call or_say,$(NO_CARGO))

$(BUILD)/bin/protoc:
	@echo "fetching protoc and the plugin for Java"
	@mkdir -p $(BUILD)/bin
	@for tool in $(PROTOC) $(GRPC_JAVA); do \
		mvn --quiet --batch-mode dependency:copy -Dartifact=$$tool -DoutputDirectory=$(CURDIR)/$(BUILD)/bin -Dmdep.stripVersion \
			$(call or_say,$(NO_MAVEN)); \
	done
	@for tool in protoc-gen-grpc-java protoc; do \
		mv $(BUILD)/bin/$$tool-linux-x86_64.exe $(BUILD)/bin/$$tool && chmod +x $(BUILD)/bin/$$tool; \
	done
