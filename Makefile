# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FULL := $(VENV)/.installed-frameworks

.PHONY: demo test test-full check lint types floors docs bench clean

$(STAMP): pyproject.toml setup.py mvc/codecs/_kernel.c mvc/codecs/_lane.h
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $(STAMP)

$(FULL): $(STAMP)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev,frameworks]'
	touch $(FULL)

demo: $(STAMP)
	$(BIN)/mvc demo

test: $(STAMP)
	$(BIN)/pytest -q -n 2 -m "not slow"

test-full: $(FULL)
	$(BIN)/pytest -q -n 2

lint: $(STAMP)
	$(BIN)/ruff check mvc tests benchmarks
	$(BIN)/ruff format --check mvc tests benchmarks

types: $(STAMP)
	$(BIN)/mypy

floors: $(STAMP)
	$(BIN)/lint-imports

docs: $(STAMP)
	$(BIN)/python -m mvc.cli.reference > docs/cli.md

check: lint types floors test

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
