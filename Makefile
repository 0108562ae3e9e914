# The commands of developers and CI. Every target works on a fresh clone: it makes .venv first.
.DELETE_ON_ERROR:
.PHONY: demo check test proof format web wheel clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# One process per core. A test file stays in one process, because its tests share fixtures; files run in
# the order of their names.
SIDE_BY_SIDE := --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# With this variable set, each process that a test starts would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

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

# Every lesson is a text in docs/course/; what GitHub shows is made from it by running it. A lesson in
# another language has the same code, and gets the same results. `make course LESSONS=2_tokens` runs one.
NOTEBOOKS := docs/course/notebooks
ENGLISH := $(filter-out %.zh,$(basename $(notdir $(wildcard docs/course/[1-6]*.md))))

course: $(VENV)/course  ## execute the lessons, each under five minutes on two cores
	mkdir -p runs/course
	set -e; for lesson in $(or $(LESSONS),$(ENGLISH)); do \
	    PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/jupytext --to ipynb --execute --run-path runs/course \
	        --output $(NOTEBOOKS)/$$lesson.ipynb docs/course/$$lesson.md; \
	    if [ -e docs/course/$$lesson.zh.md ]; then \
	        cp $(NOTEBOOKS)/$$lesson.ipynb $(NOTEBOOKS)/$$lesson.zh.ipynb; \
	        $(BIN)/jupytext --update --to ipynb --output $(NOTEBOOKS)/$$lesson.zh.ipynb docs/course/$$lesson.zh.md; \
	    fi; done

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

$(VENV)/course: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[course]'
	touch $@ $(VENV)/base

$(VENV)/dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[dev]'
	touch $@ $(VENV)/base
