# make serve   build the book and open it on localhost        make test   decide whether a change is good
PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin
# The environment's own node (if bootstrap had to install one) comes before the system's.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export NO_MKDOCS_2_WARNING := 1
# One thread a process: the tests run small models, where a second thread only waits for the first.
TEST_ENV := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1

.DEFAULT_GOAL := help
.PHONY: help setup setup-site web site serve test lint types unit browser browser-only experiments notebook clean

help:            ## this list
	@grep -hE '^[a-z-]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

setup:           ## the environment for everything: site, training, tests (.venv)
	@$(PYTHON) scripts/bootstrap.py all

setup-site:      ## the environment for the site alone (no torch)
	@$(PYTHON) scripts/bootstrap.py site

web: setup-site  ## build the browser's side: scripts, styles, Python for the page
	@$(BIN)/python scripts/build_web.py

site: web        ## build the whole site, strictly, into site/
	@$(BIN)/minimind site build --strict

# Not strict: whoever edits an experiment must be able to look at the page before the record is new.
serve: web       ## build the site and serve it on localhost
	@$(BIN)/minimind site build
	@$(BIN)/minimind site serve --port $(PORT)

# What keeps one core busy runs side by side; the tests use all cores themselves.
test: setup web  ## everything that decides whether a change is good
	@$(MAKE) --no-print-directory -j 2 lint types site
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory browser-only
	@echo "make test: all good"

lint: setup      ## style and spelling
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/codespell minimind_wiki experiments snippets docs/en README.md CONTRIBUTING.md

types: setup web ## types: Python and TypeScript, and the browser code's unit tests
	@$(BIN)/mypy
	@npm --prefix web run --silent types
	@npm --prefix web run --silent test

unit: setup web  ## unit, parity, golden, book tests and doctests
	@$(TEST_ENV) $(BIN)/pytest -n auto --dist loadfile \
	  tests/unit tests/parity tests/golden tests/book minimind_wiki

browser: setup site ## the site in headless Chromium (found, or installed)
	@$(MAKE) --no-print-directory browser-only

browser-only:
	@$(TEST_ENV) $(BIN)/pytest -n auto --maxprocesses 4 --dist loadgroup tests/browser

experiments: setup ## run every experiment of the book again at full size
	@for file in experiments/*/[!_]*.py; do name=$${file#experiments/}; \
	  $(BIN)/minimind experiment run $${name%.py} || exit 1; done

clean:           ## remove what the build made (not .venv)
	rm -rf site build docs/en/assets/build docs/en/notebooks web/node_modules
