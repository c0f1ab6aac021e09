# Everything from a bare checkout: `make run`, `make test`. See README.md.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

VENV ?= .venv
WORKDIR ?= runs/quickstart
# Two test processes, each with whole files, the longest first (tests/conftest.py): TensorFlow's tracing keeps one core busy and leaves the other idle.
PYTEST_ARGS ?= --numprocesses 2 --dist loadfile --no-loadscope-reorder
# TensorFlow 2.21 and its companions are pinned for this Python alone.
PYTHON ?= $(shell for p in python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

# Named by content, so that a changed pin installs again and a fresh clock does not.
PINS := setup.cfg pyproject.toml constraints.txt serving/setup.cfg serving/pyproject.toml
STAMP := $(VENV)/.installed-$(shell cat $(PINS) | sha256sum | cut -c 1-16)
BIN := $(VENV)/bin

.PHONY: help setup run test lint clean

help:  ## this text
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 10
	@echo "Variables: VENV=$(VENV)  WORKDIR=$(WORKDIR)  PYTEST_ARGS=\"-k name\""

setup: $(STAMP)  ## the environment alone, in .venv

$(STAMP): $(PINS)
	@test -n "$(PYTHON)" || { echo "make setup: Python 3.11 is needed and was not found; name one with PYTHON=" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv $(VENV) || { echo "make setup: cannot make $(VENV); on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing into $(VENV) (2.4 GB, some minutes the first time)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[onnx,serving,pipelines,beam,dev]" --editable "./serving[server,load-test,demo]"
	@rm -f $(VENV)/.installed-* && touch $@

run: setup  ## the whole pipeline on drawn scenes, then one gRPC prediction
	$(BIN)/python -m pipelines quickstart --workdir $(WORKDIR)

test: setup  ## every test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: setup  ## ruff, as in pre-commit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:  ## removes runs and caches, keeps .venv
	rm -rf runs .pytest_cache .ruff_cache .hypothesis
