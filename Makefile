# The commands of developers and CI. Every target works on a fresh clone: it makes .venv first.
.DELETE_ON_ERROR:
.PHONY: demo check test proof format web wheel clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# One process per core. A test file stays in one process, because its tests share fixtures; files run in
# the order given, the longest first.
SIDE_BY_SIDE := --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

demo: $(VENV)/base  ## train a small model on this machine's own Python
	$(BIN)/codeling demo $(ARGS)

check: $(VENV)/dev  ## format, lint, strict types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(VENV)/dev  ## the tests, without the slow proofs
	$(BIN)/pytest -m "not proof" --durations=10 $(SIDE_BY_SIDE) $(ARGS)

proof: $(VENV)/dev  ## the slow proofs
	$(BIN)/pytest -m proof $(ARGS)

format: $(VENV)/dev  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

web:  ## the page of `codeling serve`; needs Node.js 20 or newer
	cd web/playground && npm ci --no-audit --no-fund && npm test --silent && npm run build --silent
	node --test web/jupyter/ >/dev/null

wheel: web $(VENV)/dev  ## a wheel with the page, in dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:  ## remove the environment and caches; runs stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/base: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable .
	touch $@

$(VENV)/dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[dev]'
	touch $@ $(VENV)/base
