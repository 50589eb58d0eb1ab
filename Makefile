# `make demo` and `make test` are all that a newcomer needs; `make help` lists the rest.
# Every target can be run again: what is already there and still fresh is not made twice.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
.NOTPARALLEL:

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PAGE := src/fluoroscope/render/template/report.html
CHROMIUM := $(firstword $(wildcard /usr/bin/chromium /usr/bin/chromium-browser /usr/bin/google-chrome))
WEB := $(shell find web -type f -not -path '*/node_modules/*' -not -path '*/.*' -not -path 'web/dist/*' -not -path 'web/tests/*' 2>/dev/null)
RECIPE := pyproject.toml constraints.txt hatch_build.py
OUT ?= fluoroscope-demo
ARGS ?=

# The first Python of at least 3.11 that the machine has; `make PYTHON=...` names another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)

# $(call apt,packages,what for): install Debian packages where that is possible, else say what a person has to do.
define apt
	if [ "$$(id -u)" = 0 ]; then as_root=""; \
	elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then as_root=sudo; else as_root=none; fi; \
	if ! command -v apt-get >/dev/null || [ "$$as_root" = none ]; then \
		echo "fluoroscope: $(2) needs $(1), and it can't be installed from here (no apt-get, or no right to use it)." >&2; \
		echo "  remedy: install $(1) with your system's package manager, then run make again" >&2; exit 1; fi; \
	$$as_root apt-get update -q && DEBIAN_FRONTEND=noninteractive $$as_root apt-get install -y -q --no-install-recommends $(1)
endef

.PHONY: help demo test quick lint format types docs examples bench parity gpu-check page clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

demo: $(VENV)/.demo $(VENV)/.page ## train a small network on real data, watch it, write the report (OUT=folder)
	$(BIN)/fluoroscope demo --out "$(OUT)" $(ARGS)

test: $(VENV)/.test $(VENV)/.page web/node_modules/.package-lock.json chromium ## every test, those in a browser included
	cd web && npm run --silent test
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

quick: $(VENV)/.test $(VENV)/.page ## the tests that need neither a browser nor patience
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not browser" $(ARGS)

lint: $(VENV)/.lint $(VENV)/.page web/node_modules/.package-lock.json ## style, types, layering; the page's types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd web && npm run --silent check

format: $(VENV)/.lint ## let ruff arrange the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: examples ## the manual, in docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "manual: docs/_build/html/index.html"

examples: $(VENV)/.docs $(VENV)/.page ## run every example and collect its picture
	$(BIN)/python docs/gallery.py

bench: $(VENV)/.page $(VENV)/.demo ## compare with the peers, in an environment of their own; writes docs/benchmarks.md
	BENCH_VENV=.venv-bench $(BIN)/python -m bench $(ARGS)

parity: ## the same numbers as the peers, in the benchmarks' environment
	bash bench/setup.sh
	.venv-bench/bin/python -m pytest tests/parity $(ARGS)

gpu-check: $(VENV)/.test $(VENV)/.page ## contract suite and benchmarks on an accelerator, where there is one
	$(BIN)/python -m bench.gpu_check $(ARGS)

page: $(VENV)/.page ## build the report page

clean: ## remove everything that make made
	rm -rf $(VENV) .venv-bench web/node_modules web/dist $(dir $(PAGE)) docs/_build docs/_generated build dist
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests bench docs examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# --- What the targets stand on ----------------------------------------------------------------------------------------

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "fluoroscope: no Python of at least 3.11 was found." >&2; \
		echo "  remedy: install one (Debian: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3.11" >&2; \
		exit 1; fi
	@if ! "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null; then $(call apt,python3-venv,making $(VENV)); fi
	"$(PYTHON)" -m venv $(VENV)

# The project is installed once for each set of extras, in place; the page is built on the way by hatch_build.py.
$(VENV)/.demo $(VENV)/.test $(VENV)/.lint $(VENV)/.docs: $(VENV)/.%: $(RECIPE) | $(BIN)/python
	$(PIP) install -q -c constraints.txt -e '.[$*]'
	@touch $(VENV)/.page $@

# A change of the page's sources: the hook builds it again, nothing else is installed.
$(VENV)/.page: $(WEB) src/fluoroscope/render/design.json hatch_build.py | $(BIN)/python
	$(PIP) install -q --no-deps -c constraints.txt -e .
	@touch $@

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	cd web && npm ci --no-audit --no-fund
	@touch $@

.PHONY: chromium
chromium:
ifeq ($(CHROMIUM),)
	@echo "chromium is missing: installing it for the browser tests"
	@$(call apt,chromium,testing the page in a browser)
endif
