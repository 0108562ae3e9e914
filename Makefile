# Everything a person or CI runs. Every target works on a fresh clone: it makes .venv first.
.DELETE_ON_ERROR:
.PHONY: demo check test proof format clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# A core each, file by file, for files share what is made once; as ordered, for the longest are early.
SIDE_BY_SIDE := --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

demo: $(VENV)/base  ## corpus, tokenizer, model and completions from this machine's own Python
	$(BIN)/codeling demo $(ARGS)

check: $(VENV)/dev  ## format, lint, strict types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(VENV)/dev  ## the tests, under ten minutes on two cores
	$(BIN)/pytest -m "not proof" --durations=10 $(SIDE_BY_SIDE) $(ARGS)

proof: $(VENV)/dev  ## the slow proofs
	$(BIN)/pytest -m proof $(ARGS)

format: $(VENV)/dev  ## rewrite the code as `check` wants it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

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
