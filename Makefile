# `make run` and `make test` need Python 3.11, git and make; they do all the set-up.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test test-fast coverage fuzz check bench dev clean

# A world to look at where nothing has landed yet, then every night that is landed and not live.
run: $(VENV)/.installed
	$(BIN)/gesture demo-data --if-empty
	$(BIN)/gesture run

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test-fast: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not slow"

# How much of the pure rooms their own fast tests reach: lines and branches, at least 95 % of them.
PURE := events subscribers features rules models monitoring
coverage: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(PURE:%=--cov=gesture_assets/%) -n auto --dist loadfile --no-loadscope-reorder \
		-m "not slow" $(PURE:%=gesture_assets_tests/unit/%) gesture_assets_tests/properties

# 10,000 generated landing files through the readers: some ten minutes.
fuzz: $(VENV)/.installed-dev
	FUZZ_FILES=10000 $(BIN)/python -m pytest -m slow gesture_assets_tests/properties/test_readers.py

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# Beside baselines, at a size that takes minutes: make bench EVENTS=5000000 USERS=50000 DAYS=120 ARGS="--only night"
EVENTS ?= 1000000
USERS ?= 10000
DAYS ?= 120
bench: $(VENV)/.installed-dev
	$(BIN)/python -m gesture_assets_tests.benchmarks --events $(EVENTS) --users $(USERS) --days $(DAYS) $(ARGS)

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
