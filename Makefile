# usagekit needs Python >= 3.11 and make, nothing else.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint types unit notebooks test-spark soak format bench bench-large install audit clean

help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.run ## sample lab -> embedded API -> every team's report in reports/2023-03/
	$(BIN)/usagekit demo

test: lint types unit notebooks ## everything that must hold: lint, types, tests, notebooks

lint: $(VENV)/.dev ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy, strict
	$(BIN)/mypy

unit: $(VENV)/.dev ## the tests, three at a time: many of them wait
	$(BIN)/pytest -n 3 --dist worksteal tests

notebooks: $(VENV)/.dev ## every notebook executes (nbval)
	$(BIN)/pytest --nbval-lax notebooks

test-spark: $(VENV)/cluster/.done ## the cluster's expression on DuckDB, and on a local Spark where there is Java
	$(VENV)/cluster/bin/pytest tests/cluster

bench: $(VENV)/.dev ## engine and reports against their rivals, into docs/performance.md
	$(BIN)/python -m benchmarks.engine
	$(BIN)/python -m benchmarks.reports

bench-large: $(VENV)/.dev ## the same at 10^8 sessions and over 500 reports: 3 GB of disk, half an hour
	$(BIN)/python -m benchmarks.engine --large
	$(BIN)/python -m benchmarks.reports --large

soak: $(VENV)/.dev ## the long forms of the tests, into docs/soak-*.jsonl: two hours
	$(BIN)/python -m tests.soak.engine --write
	$(BIN)/python -m tests.soak.store --write
	$(BIN)/python -m tests.soak.server --write
	$(BIN)/python -m tests.soak.client --write
	$(BIN)/python -m tests.soak.paper --write
	$(BIN)/python -m tests.soak.mail --write
	$(BIN)/python -m tests.soak.debian --write
	$(BIN)/python -m tests.soak.calendar --write

format: $(VENV)/.dev ## put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(VENV)/.dev ## a virtual environment with everything for development

audit: ## known weaknesses of the pinned versions (pip-audit; needs the internet)
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/pip install --quiet --disable-pip-version-check pip-audit
	$(VENV)/audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --progress-spinner off

clean: ## remove what was made: environment, caches, rendered reports
	rm -rf $(VENV) .demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find reports -mindepth 1 ! -name README.md -delete

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "usagekit needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	$(BIN)/jupyter kernelspec install --sys-prefix --name usagekit usagekit/report/kernelspec 2>/dev/null
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,lint,cluster,dask]'
	$(BIN)/jupyter kernelspec install --sys-prefix --name usagekit usagekit/report/kernelspec 2>/dev/null
	touch $@ $(VENV)/.run

# Half a gigabyte that few need, so an environment of its own.
$(VENV)/cluster/.done: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(VENV)/bin/python -m venv $(VENV)/cluster
	PYTHONWARNINGS=ignore $(VENV)/cluster/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,cluster,spark]'
	touch $@
