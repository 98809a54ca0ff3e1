# make up      installs what is missing, starts the lab, runs `provision up --env dev` against it
# make test    installs what is missing, runs all tests
# make bench   the figures of docs/benchmarks.md
# make lint    formatting, clippy, docs, dependencies
# make lab-up, make lab-down   the lab by itself

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export CARGO_TARGET_DIR ?= $(HOME)/.cache/provision/target
BIN := $(CARGO_TARGET_DIR)/debug
SERVICES := api-gateway feature-service repository-service feature-worker git-service llm-orchestrator sandbox-manager

.PHONY: help install build lab-up lab-down images up test bench lint fmt

help:
	@sed -n '1,5p' Makefile | sed 's/^# //'

install:
	@tests/lab/install.sh

build: install
	cargo build --locked --bins

lab-up: build
	@$(BIN)/lab up

lab-down:
	@if [ -x $(BIN)/lab ]; then $(BIN)/lab down; fi

images: lab-up
	@eval "$$($(BIN)/lab env)"; $(BIN)/provision image push --env dev --binaries $(BIN) \
	  --registry "$$LAB_REGISTRY" --pull-from "$$LAB_REGISTRY_IN_CLUSTER" $(SERVICES)

up: images
	@eval "$$($(BIN)/lab env)"; export PROVISION_DEV_DATABASE_URL="$$DATABASE_URL"; $(BIN)/provision up --env dev --yes

test:
	@tests/lab/install.sh --tests
	tests/run.sh

bench: install
	tests/bench.sh

fmt:
	cargo fmt --all

lint:
	tests/lint.sh
