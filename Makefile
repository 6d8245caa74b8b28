# `make run` and `make test` need Python 3.11, git and make; they do all the set-up.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

# Tests start many processes: code that was compiled once is kept for the next, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-fast proof check bench dev clean

# A world to look at where nothing has landed yet, then every night that is landed and not live.
run: $(VENV)/.installed
	$(BIN)/gesture demo-data --if-empty
	$(BIN)/gesture run

# Three tiers. A file's tests stay in one worker, for they share a world.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
# How much of the pure rooms the fast tests reach: lines and branches, at least 95 % of them.
PURE := events subscribers features rules models monitoring pings
EXAMPLES := fast

# Each commit: two minutes.
test-fast: $(VENV)/.installed-dev
	$(PYTEST) -m "not slow and not proof" --hypothesis-profile=$(EXAMPLES) $(PURE:%=--cov=gesture_assets/%)

# What CI runs: the fast ones with more examples, then the slow ones.
test: EXAMPLES := full
test: test-fast
	$(PYTEST) -m "slow and not proof" --hypothesis-profile=$(EXAMPLES)

# Before a release, on a quiet machine: random kills, the daemon, 10,000 landing files drawn anew, benchmarks.
proof: $(VENV)/.installed-dev
	$(PYTEST) -m proof
	$(MAKE) bench

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# Beside baselines, at a size that takes minutes: make bench ARGS="--only night --events 5000000 --users 50000"
bench: $(VENV)/.installed-dev
	$(BIN)/python -m gesture_assets_tests.benchmarks $(ARGS)

dev: $(VENV)/.installed
	$(BIN)/gesture dev

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV)
