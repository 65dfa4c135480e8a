# Two commands on a fresh machine: `make demo` and `make test`. Both make .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test lint types unit wheel bench clean

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.done: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --progress-bar off -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/test.done: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --progress-bar off -c constraints.txt -e '.[demo,test]'
	@touch $@ $(VENV)/demo.done

demo: $(VENV)/demo.done  ## evaluate the bundled sample with the default model
	$(BIN)/actsim eval sample

test: lint types unit wheel  ## everything that has to pass: lint, types, tests, wheel

lint: $(VENV)/test.done  ## ruff, style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/test.done  ## mypy
	$(BIN)/mypy

unit: $(VENV)/test.done  ## pytest, on $(WORKERS) processes of one thread each
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n $(WORKERS) --durations 10

wheel: $(VENV)/test.done  ## build the wheel, install it into a clean environment, run it there
	rm -rf build dist $(VENV)/wheel-check
	$(BIN)/python -m build --wheel --outdir dist .
	$(PYTHON) -m venv $(VENV)/wheel-check
	$(VENV)/wheel-check/bin/python -m pip --disable-pip-version-check install --progress-bar off --quiet click
	$(VENV)/wheel-check/bin/python -m pip --disable-pip-version-check install --progress-bar off --no-deps dist/*.whl
	cd $(VENV)/wheel-check && bin/actsim --help && bin/actsim --version
	$(VENV)/wheel-check/bin/python -c "import importlib.resources as r; assert (r.files('actsim.data.sample') / 'pairs.jsonl').is_file()"

bench: $(VENV)/demo.done  ## speed and memory against the released way: writes benchmarks/results, prints the table
	@for shape in minilm llama-110m llama-2-7b llama-3-8b qwen2.5-7b; do \
	    case $$shape in minilm) pairs=1379 ;; llama-110m) pairs=400 ;; *) pairs=120 ;; esac; \
	    $(BIN)/python -m benchmarks.bench_scoring --shape $$shape --device cpu --pairs $$pairs --released-pairs 40 \
	        --out benchmarks/results/cpu-$$shape.json || [ $$? -eq 3 ] || exit 1; \
	done
	$(BIN)/python -m benchmarks.bench_scoring --growth --shape minilm --device cpu --repeat 1 --limit-minutes 2 \
	    --out benchmarks/results/cpu-growth.json
	$(BIN)/python -m benchmarks.bench_scoring --growth --shape minilm --device cpu --repeat 1 --limit-minutes 10 \
	    --dtype bfloat16 --out benchmarks/results/cpu-growth-bfloat16.json
	$(BIN)/python -m benchmarks.report benchmarks/results

clean:  ## remove what was built
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
