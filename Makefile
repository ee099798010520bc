# Every target makes the environment first where it is missing or out of date.
# Variables:
#   PYTHON=python3.11   the Python that makes .venv
#   TORCH_INDEX=URL     where PyTorch comes from, e.g. its index of CPU builds

PYTHON ?= python3
TORCH_INDEX ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# -qq: only errors; the lines that say what goes on are ours.
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq
TORCH := $(shell grep -E '^torch(vision)?==' requirements.lock)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install study test book pdf full verify clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' Makefile

install: $(STAMP) ## Make .venv with the pinned packages (the others do it when needed)

study: $(STAMP) ## Rerun the study in quick mode, build the book, compare with results/
	@$(BIN)/qstudy study

test: $(STAMP) ## Run all tests
	@$(BIN)/python -m pytest

book: $(STAMP) ## Build the book from results/, computing nothing
	@$(BIN)/qstudy book

pdf: $(STAMP) ## Print the whole book to _build/qstudy.pdf (needs Chromium)
	@$(BIN)/qstudy pdf

full: $(STAMP) ## Compute every run of the study from scratch into work/ (qstudy plan says how long)
	@$(BIN)/qstudy run --mode full

verify: $(STAMP) ## Compare work/ with results/, value by value
	@$(BIN)/qstudy verify results work

clean: ## Remove the built book and caches; work/ and .venv/ stay
	rm -rf _build .pytest_cache .hypothesis .ruff_cache
	find qstudy tests chapters -name __pycache__ -prune -exec rm -rf {} +

# PyTorch comes first: pip keeps what fits the lock's pin, so the build from TORCH_INDEX
# stays. Nothing is resolved, the lock is the whole closure; only without TORCH_INDEX may
# pip add what a CUDA build of PyTorch needs to be imported at all.
$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "qstudy: no $(PYTHON) here;" \
	  "install Python 3.11 or newer, or name one: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "qstudy: $$($(PYTHON) --version) is too old; Python 3.11 or newer is needed:" \
	  "make PYTHON=python3.11" >&2; exit 1; }
	@echo "qstudy: making $(VENV) with $$($(PYTHON) --version)" >&2
	@$(PYTHON) -m venv $(VENV)
	@echo "qstudy: 1 of 3, installing $(TORCH) (the largest download)" >&2
	@$(PIP) install $(TORCH) \
	  $(if $(TORCH_INDEX),--no-deps --index-url $(TORCH_INDEX),-c requirements.lock)
	@echo "qstudy: 2 of 3, installing the rest of requirements.lock" >&2
	@$(PIP) install --no-deps -r requirements.lock
	@echo "qstudy: 3 of 3, installing qstudy itself, editable" >&2
	@$(PIP) install --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pip check >&2
	@touch $(STAMP)
