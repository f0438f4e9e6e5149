# Every target sets up what it needs: a fresh machine needs only Python 3.11+, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCK := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header

SEEDS ?= 2000
DAYS ?= 10000
.PHONY: help demo up example test check format bench soak chaos lock image clean
help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Yurt needs Python 3.11 or newer: try make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Setting up $(VENV) (once, about a minute) …"
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing: on Debian, apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

demo: $(STAMP)  ## run 30 photos through the whole pipeline on this machine
	@$(BIN)/yurt demo

up: $(STAMP)  ## run the services of the demo until Ctrl-C
	@$(BIN)/yurt up

example: $(STAMP)  ## run a photo app with all services until Ctrl-C, see examples/photo-app
	@$(BIN)/python examples/photo-app/run_locally.py

test: $(STAMP)  ## run all tests
	@$(BIN)/pytest

check: $(STAMP)  ## lint, strict types, import contracts, docs, names and layout
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest -q tests/test_docs.py tests/test_names.py tests/test_layout.py

format: $(STAMP)  ## fix and format the sources with ruff
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(STAMP)  ## measure throughput and latency, beside what this machine can do
	@$(BIN)/python -m tests.bench

soak: $(STAMP)  ## run SEEDS=2000 simulated histories and DAYS=10000 of rented machines, for hours
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS)
	@$(BIN)/python -m tests.simulation.fleet --days $(DAYS)

chaos: $(STAMP)  ## kill and stop real processes at random for ten minutes
	@$(BIN)/python -m tests.chaos

lock: $(STAMP)  ## resolve the dependencies again into requirements/
	@$(LOCK) --extra checks --extra server pyproject.toml -o requirements/runtime.txt
	@$(LOCK) --extra checks --constraints requirements/runtime.txt pyproject.toml -o requirements/worker.txt
	@$(LOCK) requirements/build.in -o requirements/build.txt
	@$(LOCK) --extra local --group dev pyproject.toml -o requirements/dev.txt

image:  ## build the container image with docker, podman or buildah
	@sh infra/image.sh

clean:  ## remove the files that the targets made
	@rm -rf $(VENV) .yurt .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
