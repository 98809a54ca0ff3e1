# make up      installs what is missing, builds, brings the whole platform up on this machine: `provision up --env local`
# make down    ends it; data and generated secrets stay in the state folder
# make test    installs what is missing, runs all tests
# make bench   the figures of docs/benchmarks.md
# make lint    formatting, clippy, docs, dependencies
# make cluster-up   the same platform on a real cluster of this machine: `provision up --env dev`; needs root
# make lab-up, make lab-down   that cluster by itself

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export CARGO_TARGET_DIR ?= $(HOME)/.cache/provision/target
BIN := $(CARGO_TARGET_DIR)/debug

.PHONY: help build up down first-feature cluster-up images lab lab-up lab-down test bench lint fmt

help:
	@sed -n '1,/^$$/p' Makefile | sed -n 's/^# //p'

build:
	@tests/packages.sh build local
	cargo build --locked --bins

up: build
	@$(BIN)/provision up --env local --yes
	@services/first-feature.sh --how

down:
	@$(BIN)/provision down --env local --yes

first-feature:
	@services/first-feature.sh

lab: build
	@tests/lab/install.sh

lab-up: lab
	@$(BIN)/lab up

lab-down:
	@if [ -x $(BIN)/lab ]; then $(BIN)/lab down; fi

images: lab-up
	@tests/packages.sh images
	@eval "$$($(BIN)/lab env)"; $(BIN)/provision image push --env dev --binaries $(BIN) \
	  --registry "$$LAB_REGISTRY" --pull-from "$$LAB_REGISTRY_IN_CLUSTER"

cluster-up: images
	@eval "$$($(BIN)/lab env)"; export PROVISION_DEV_DATABASE_URL="$$DATABASE_URL" \
	  PROVISION_DEV_S3_ACCESS_KEY="$$LAB_S3_ACCESS_KEY" PROVISION_DEV_S3_SECRET_KEY="$$LAB_S3_SECRET_KEY"; \
	  $(BIN)/provision up --env dev --yes --set config.OBJECT_STORE_PUBLIC_ENDPOINT="$$LAB_S3"

test:
	@tests/packages.sh build local lab browser images
	@tests/lab/install.sh
	tests/run.sh

bench:
	@tests/packages.sh build local lab
	@tests/lab/install.sh
	tests/bench.sh

fmt:
	cargo fmt --all

lint:
	tests/lint.sh
