# bellcow: `make run` starts a server, `make test` proves it. `make help` lists the rest.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCKS := requirements.txt requirements-dev.txt
STAMP := $(VENV)/.made-from-$(shell cat pyproject.toml $(LOCKS) scripts/setup.sh | cksum | cut -d' ' -f1)-$(shell $(PYTHON) --version 2>&1 | tr ' ' '-')
WORKERS ?= 2
# Tests of real servers wait more than they compute.
WAITERS ?= 3
SECONDS ?= 180
SEED ?= 1

.PHONY: help setup lock run demo need-etcd check fix test audit bench chaos etcd-versions docs clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(STAMP) ## make .venv with bellcow and its tools in it

$(STAMP):
	@bash scripts/setup.sh "$(PYTHON)" "$(VENV)"
	@rm -f $(VENV)/.made-from-*
	@touch $@

run: setup ## start a server on http://127.0.0.1:4646, state kept in .run; ARGS=-config=FILE gives it more
	@exec $(BIN)/bellcow agent -dev -data-dir=$(CURDIR)/.run $(ARGS)

demo: setup need-etcd ## three servers on this machine: they lose their leader, and go on
	@$(BIN)/python scripts/demo.py

lock: setup ## take the newest versions into requirements.txt and requirements-dev.txt
	@bash scripts/lock.sh $(BIN)/uv

check: setup ## format, lint, types, import contracts, unit and route tests
	@bash scripts/stages.sh check $(BIN) $(WORKERS) $(WAITERS)

fix: setup ## let the tools repair what they can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

need-etcd:
	@bash scripts/etcd.sh || true

test: setup need-etcd ## everything CI runs: all stages, whatever fails, and one line a stage
	@bash scripts/stages.sh test $(BIN) $(WORKERS) $(WAITERS)

audit: setup ## compare the locked versions with the published vulnerabilities (needs a network); the SBOM goes into sbom.json
	$(BIN)/uv tool run pip-audit --strict --disable-pip --require-hashes -r requirements.txt
	$(BIN)/uv tool run pip-audit --disable-pip --require-hashes -r requirements.txt --format cyclonedx-json --output sbom.json

bench: setup ## speed and memory, as ratios within one run; table and JSON into bench/results
	$(BIN)/python -m bench

chaos: setup need-etcd ## break three real servers for SECONDS by SEED; the report goes into bench/results
	$(BIN)/python -m tests.cluster.chaos --seconds=$(SECONDS) --seed=$(SEED)

etcd-versions: setup need-etcd ## try newer releases of etcd, built with Go; the table goes into docs/etcd-versions.md
	$(BIN)/python -m tests.cluster.newer_etcd

docs: setup ## write the generated pages of docs/
	$(BIN)/python scripts/docs.py
	$(BIN)/python -m bellcow.api.openapi docs/openapi.json

clean: ## remove what make made
	rm -rf $(VENV) .run .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
