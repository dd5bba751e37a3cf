# `make` alone lists the targets. Every target sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.bench-ready

.DEFAULT_GOAL := help
.PHONY: help demo collect test test-slow check format train evaluate serve bench bench-forecast clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# torch first and alone: a resolver that may choose takes a build of several gigabytes
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(BENCH_READY): $(READY) requirements-bench.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@touch $@

demo: $(READY) ## forecast the default strategies on the default data: a table and reports/demo.html
	$(BIN)/aegis demo

collect: $(READY) ## bring real yields from the sources into data/processed; again: what is new
	$(BIN)/aegis collect

test: $(READY) ## run the tests side by side (the slow ones: make test-slow)
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(BENCH_READY) ## run the slow tests, some of them against peer libraries
	$(BIN)/python -m pytest -m slow

check: $(READY) ## lint, formatting, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train: $(READY) ## train the next models/lstm_v<N>.pth on the default data
	$(BIN)/python scripts/train.py --epochs 100 --batch-size 32

evaluate: $(READY) ## score the newest model on the default data
	$(BIN)/python scripts/evaluate.py

serve: $(READY) ## serve forecasts on http://127.0.0.1:5000
	$(BIN)/python api/ml_service.py

bench: $(BENCH_READY) ## measure: speed, the race against peers, the simulated market's facts, collection
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/forecast.py --quick
	$(BIN)/python benchmarks/stylised_facts.py
	$(BIN)/python benchmarks/collection.py
	$(BIN)/python benchmarks/scenarios.py
	$(BIN)/python benchmarks/allocation.py
	$(BIN)/python benchmarks/optimizers.py
	$(BIN)/python benchmarks/whole_allocation.py
	$(BIN)/python benchmarks/service_load.py

bench-forecast: $(BENCH_READY) ## the race of forecasters on the last year of the reference data (hours; resumable)
	$(BIN)/python benchmarks/forecast.py --json reports/race.json --html reports/race.html

clean: ## remove what the targets made, except models and data
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis htmlcov reports
