# `make` lists the targets. Each one creates what it needs in .venv, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Stamps: the environment, with what the library needs, with what its development needs.
CREATED := $(VENV)/.created
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev

NOTEBOOKS := $(wildcard notebooks/*.ipynb)
# Test processes; more than a few gain nothing.
JOBS ?= auto --maxprocesses=8
PYTEST := $(BIN)/python -m pytest --quiet -n $(JOBS) --dist=worksteal
# Options for the demo and the benchmarks, as in `make demo ARGS="--epochs 3"`.
ARGS ?=
# One module of `benchmarks` to run, as in `make bench BENCH=train`; all by default.
BENCH ?=

.PHONY: help demo test check format bench notebooks clean
.NOTPARALLEL: # pip installs into one environment

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(RUNTIME) ## Train a convolutional network on handwritten digits
	@$(BIN)/python -m fstensor.examples.digits $(ARGS)

test: check ## Check, then run all tests and notebooks
	@$(PYTEST) --nbmake tests $(NOTEBOOKS)

check: $(DEV) ## Format, lint, types, import layers, stripped notebooks
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo
	@$(if $(NOTEBOOKS),$(BIN)/nbstripout --verify $(NOTEBOOKS))

format: $(DEV) ## Format, fix what lint can fix, strip the notebooks' outputs
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .
	@$(if $(NOTEBOOKS),$(BIN)/nbstripout $(NOTEBOOKS))

bench: $(DEV) ## Run the benchmarks and write benchmarks/RESULTS.md, or one: make bench BENCH=train
	@$(BIN)/python -m benchmarks$(if $(BENCH),.$(BENCH)) $(ARGS)

notebooks: $(DEV) ## Run the notebooks from top to bottom
	@$(PYTEST) --nbmake $(NOTEBOOKS)

clean: ## Remove caches and builds; the environment stays
	rm -rf build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

$(CREATED):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "fstensor needs Python 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(RUNTIME): $(CREATED) pyproject.toml
	@echo "installing fstensor"
	@$(PIP) --editable .
	@touch $@

$(DEV): $(CREATED) pyproject.toml
	@echo "installing fstensor and what its development needs"
	@$(PIP) --editable '.[dev]'
	@touch $(RUNTIME) $@
