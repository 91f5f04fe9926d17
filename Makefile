# `make help` lists what can be done here. Needs git, make and Python 3.10 or later with venv.
PYTHON ?= python3
VENV ?= .venv
STUDY ?= digits
GRID ?= init=xavier_u,kaiming_n lr=1.2e-3,0.1 dataset=digits
# Slurm's first: they wait much, and fill the others' pauses.
TESTS ?= tests/slurm tests
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup sweep figures test lint bench attack soak wheel clean

help:  ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: $(READY)  ## create the environment with the pinned packages of requirements.lock

$(READY): requirements.lock setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python 3.10 or later is needed; name one with: make PYTHON=python3.12"; exit 1; }
	@echo "setting up $(VENV): a few minutes and about 6 GB the first time, nearly all of it PyTorch"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

sweep: $(READY)  ## run a 2x2 grid on the embedded digits and draw its figures (GRID="..." STUDY=name for another)
	$(RUN) -m ltsweep -m $(GRID) study=$(STUDY)
	$(RUN) -m multirun_analysis multirun/$(STUDY)

figures: $(READY)  ## redraw what is out of date, for every study under multirun/ (ARGS="--style paper" for PDF)
	@set -- multirun/*/; [ -d "$$1" ] || { echo "no studies under multirun/; make sweep makes one"; exit 0; }; \
	  $(RUN) -m multirun_analysis "$$@" $(ARGS)

# The tests start hundreds of processes, which would each compile the package anew where Python is told to keep no bytecode.
test: export PYTHONDONTWRITEBYTECODE =
test: $(READY)  ## run all tests, one process more than there are cores, up to five (TESTS=tests/ltsweep/prune for some)
	$(RUN) -m pytest --numprocesses=$$($(RUN) -c 'import os; print(min(5, os.cpu_count() + 1))') --dist=loadfile --no-loadscope-reorder $(TESTS)

lint: $(READY)  ## style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: $(READY)  ## speed beside the loops a user would write, on MNIST; writes benchmarks/results
	$(RUN) benchmarks/throughput.py --out benchmarks/results

attack: $(READY)  ## 20,000 mutants of a study's files, each given to what reads it; writes benchmarks/results
	$(RUN) -m benchmarks.attack --mutants 20000 --processes 2 --out benchmarks/results

soak: $(READY)  ## 2,000 cells in one process, then 200 kills of a study and 50 of its analysis; writes benchmarks/results
	$(RUN) benchmarks/soak.py --out benchmarks/results
	$(RUN) benchmarks/soak_kills.py --out benchmarks/results

wheel: $(READY)  ## build dist/ltsweep-*.whl
	$(RUN) -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

clean:  ## remove the environment and what was built; studies stay
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
