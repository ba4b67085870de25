# pixied. `make` lists the targets; `make run` and `make test` do all the set-up they need.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
BIN := .venv/bin
BUILD := .build
NODE_SDK := client_sdk/node
FAYE := tests/e2e/faye
GENERATED := client_sdk/python/pixied $(NODE_SDK)/generated
WRITTEN := server client_sdk/python/pixied_client tests
PROTOS := $(wildcard proto/pixied/v1/*.proto)
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
# Everything that make installs with apt, each only where it is missing.
APT_PYTHON := python3-venv
APT_GO := golang-go
# The newest grpcurl, and the newest that Debian 12's Go 1.19 builds.
GRPCURL := v1.9.3
GRPCURL_GO119 := v1.8.9

apt = echo "installing $(1) with apt"; $(SUDO) apt-get update -qq; \
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(1) >/dev/null

##@ Use
help:  ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(BUILD)/run.stamp  ## install what is needed and start the server; ARGS='--listen ...' are its flags
	@exec $(BIN)/pixied serve $(ARGS)

demo: node $(BUILD)/dev.stamp  ## two Faye servers on one pixied, one is killed, nothing is lost
	@exec $(BIN)/python -m tests.e2e.demo $(ARGS)

##@ Work on it
test: unit integration node-test  ## install what is needed and run all tests, with coverage

unit: $(BUILD)/dev.stamp  ## the fast tests: core and engine
	$(BIN)/pytest tests/core tests/engine $(ARGS)

integration: node grpcurl $(BUILD)/dev.stamp  ## all Python tests, with coverage of the server and the SDK
	rm -f .coverage .coverage.*
	PATH="$(CURDIR)/$(BUILD)/bin:$$PATH" $(BIN)/pytest --cov --cov-report= $(ARGS)
	$(BIN)/coverage report

node-test: node $(BUILD)/dev.stamp  ## the tests of the Node SDK and the Faye engine
	cd $(NODE_SDK) && PIXIED_BIN="$(CURDIR)/$(BIN)/pixied" npm test --silent

check: node $(BUILD)/dev.stamp  ## format, lint, types, layers, contract, generated code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd $(NODE_SDK) && npm run check --silent
	$(NODE_SDK)/node_modules/.bin/buf lint proto
	$(NODE_SDK)/node_modules/.bin/buf format --diff --exit-code proto
	./.ci/breaking $(NODE_SDK)/node_modules/.bin/buf
	./.ci/generated

format: $(BUILD)/dev.stamp  ## format the code
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

generate: node $(BUILD)/dev.stamp  ## generate code and documentation from the contract and the settings
	rm -rf client_sdk/python/pixied
	mkdir -p client_sdk/python
	$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=client_sdk/python --pyi_out=client_sdk/python $(PROTOS)
	cd $(NODE_SDK) && npm run generate --silent
	$(BIN)/python -m pixied_server.settings > docs/settings.md
	$(BIN)/python -m pixied_server.settings into README.md

bench: node $(BUILD)/dev.stamp  ## measure: deliveries, pipelined operations, memory
	$(BIN)/python -m tests.bench $(ARGS)

clean:  ## remove everything that make made
	rm -rf .venv $(BUILD) $(NODE_SDK)/node_modules $(NODE_SDK)/dist $(FAYE)/node_modules tests/output
	find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help run demo test unit integration node-test check format generate bench clean node grpcurl

# Set-up

.venv/pyvenv.cfg:
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed, and $(PYTHON) was not found" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -V). Name another: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(call apt,$(APT_PYTHON)); }
	@echo "making a Python environment in .venv"
	@$(PYTHON) -m venv .venv
	@# Older pips do not know dependency groups.
	@$(BIN)/pip install -q --upgrade 'pip>=25.1'

$(BUILD)/run.stamp: .venv/pyvenv.cfg pyproject.toml client_sdk/python/pyproject.toml
	@echo "installing pixied"
	@$(BIN)/pip install -q -e client_sdk/python -e .
	@mkdir -p $(BUILD) && touch $@

$(BUILD)/dev.stamp: $(BUILD)/run.stamp
	@echo "installing what the tests and checks need"
	@$(BIN)/pip install -q --group dev
	@touch $@

node: $(BUILD)/node.stamp

$(BUILD)/node.stamp: $(NODE_SDK)/package-lock.json $(NODE_SDK)/package.json $(FAYE)/package.json \
		$(wildcard $(NODE_SDK)/src/*.ts $(NODE_SDK)/src/faye/*.ts $(NODE_SDK)/generated/pixied/v1/*.ts)
	@{ command -v node && command -v npm; } >/dev/null \
		|| { echo "Node 20 or newer with npm is needed for the Node SDK, the demo and the tests; it was not found" >&2; exit 1; }
	@node -e 'process.exit(+(process.versions.node.split(".")[0] < 20))' \
		|| { echo "Node 20 or newer is needed; this is $$(node --version)" >&2; exit 1; }
	@echo "installing the Node SDK and Faye"
	@cd $(NODE_SDK) && npm ci --silent && npm run build --silent
	@cd $(FAYE) && npm ci --silent
	@mkdir -p $(BUILD) && touch $@

grpcurl: $(BUILD)/bin/grpcurl

$(BUILD)/bin/grpcurl:
	@mkdir -p $(BUILD)/bin
	@command -v go >/dev/null || { $(call apt,$(APT_GO)); }
	@echo "building grpcurl, once: this takes a minute or two"
	@minor=$$(go env GOVERSION | sed -E 's/go1\.([0-9]+).*/\1/'); \
		version=$(GRPCURL); [ "$$minor" -ge 21 ] || version=$(GRPCURL_GO119); \
		GOBIN="$(CURDIR)/$(BUILD)/bin" go install github.com/fullstorydev/grpcurl/cmd/grpcurl@$$version
