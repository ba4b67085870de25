# pixied. `make help` lists what there is to say.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
NODE ?= node
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
BIN := .venv/bin
BUILD := .build
NODE_SDK := client_sdk/node
FAYE_APPS := tests/e2e/faye
# What make installs from Debian where it is missing, and only here.
APT_RUN := python3-venv
APT_TEST := python3-venv golang-go
