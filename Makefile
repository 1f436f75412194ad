# The verbs. `make help` explains them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Folders that a package index or the environment may have configured are left to the tools themselves.
UV := $(BIN)/uv

# Machines for containers often switch byte code off: then each start of a program compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := $(UV) pip install --quiet --compile-bytecode

#: What `make up` runs on: everything that works without another service.
EXTRAS := --extra adbc --extra embedded --extra lab --extra metrics --extra postgresql --extra snapshots --extra telemetry --extra watch --extra web

.DEFAULT_GOAL := help
.PHONY: help install up lab test check format-check types imports suite quick-suite soak format screenshots bench lock clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (set PYTHON=...)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet uv

$(VENV)/.run: requirements.lock pyproject.toml | $(UV)
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-deps -e .
	@touch $@

$(VENV)/.test: requirements-test.lock $(VENV)/.run
	$(INSTALL) --require-hashes -r requirements-test.lock
	$(INSTALL) --no-deps -e .
	@touch $@

# A browser cannot come as a package of Python's. Where it cannot be installed either, the tests say what is missing.
# Debian's headless shell costs half the CPU of its whole Chromium; any other Chromium or Chrome will do as well.
$(VENV)/.browser: $(VENV)/.test
	@command -v chromium-headless-shell >/dev/null \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium-headless-shell fonts-noto-core; } >/dev/null 2>&1; } \
		|| command -v chromium >/dev/null || command -v chromium-browser >/dev/null \
		|| command -v google-chrome >/dev/null || command -v google-chrome-stable >/dev/null \
		|| echo "No Chromium: the tests of the pages will fail until one is on PATH (or in TEKNAV_TEST_BROWSER)"
	@touch $@

install: $(VENV)/.run ## Make .venv with everything that `make up` needs

up: $(VENV)/.run ## Start Valkey, database, workers and scheduler, and run jobs; Ctrl-C stops it all
	@$(BIN)/teknav up

lab: $(VENV)/.run ## Open JupyterLab on the notebooks, connected to what `make up` started
	@$(BIN)/teknav lab

test: $(VENV)/.browser ## Install what the tests need and run all of them
	@$(MAKE) --no-print-directory -j 2 format-check types imports suite

check: $(VENV)/.test ## The quick loop: format, lint, types, imports, fast tests
	@$(MAKE) --no-print-directory -j 2 format-check types imports quick-suite

format-check:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy
	$(BIN)/mypy docs

imports:
	$(BIN)/lint-imports

suite:
	$(BIN)/pytest -n 6 -rs

quick-suite:
	$(BIN)/pytest -n 2 tests/architecture tests/redis_state tests/jobs tests/model tests/test_payload_codec.py

soak: $(VENV)/.browser ## Play the tests of chance with large numbers: make soak MINUTES=30
	$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),30)

format: $(VENV)/.test ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

screenshots: $(VENV)/.browser ## Make the pictures of the docs anew from the running demo
	$(BIN)/python docs/screenshots.py

bench: $(VENV)/.test ## Compare the engine with stock Dramatiq, Celery, RQ, and BullMQ where node is present
	$(INSTALL) "celery[redis]>=5.5" "rq>=2.6"
	$(BIN)/python -m benchmarks

lock: $(UV) ## Resolve the lock files anew
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		$(EXTRAS) pyproject.toml -o requirements.lock
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		$(EXTRAS) --extra test pyproject.toml -o requirements-test.lock

clean: ## Remove .venv and caches; data in .teknav stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
