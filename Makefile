# Everything happens in .venv. PYTHON chooses the interpreter, 3.11 or later.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo

.PHONY: demo docs test test-slow test-race bench torch install clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12")'
	@echo "Installing about 1.3 GB into $(VENV); a minute to several."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/uld_jax demo --out=$(DEMO)_session --overwrite
	$(BIN)/uld_jax sweep --config=experiments/demo.py --workdir=$(DEMO)
	$(BIN)/uld_jax tables $(DEMO)
	$(BIN)/uld_jax report $(DEMO)

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -m 'not slow'

# All pages and a reference of the code; the search needs `python -m http.server -d build/site`.
docs: install
	$(BIN)/python docs/build_site.py

# What takes longest: killed and spread runs, and comparisons of last bits.
test-slow: install
	$(BIN)/python -m pytest -m slow
	XLA_FLAGS=--xla_backend_optimization_level=0 $(BIN)/python -m pytest -m exact

# Without PyTorch, only rooms are compared.
bench: torch
	$(BIN)/python -m benchmarks.speed.bench

# Compare the networks with PyTorch's; `make test` skips this where PyTorch is missing.
test-race: torch
	@$(BIN)/python -c 'import torch' 2>/dev/null || { echo "PyTorch is missing"; exit 1; }
	$(BIN)/python -m pytest tests/benchmarks/test_race.py

torch: install
	@$(BIN)/python -c 'import torch' 2>/dev/null || { \
	  echo "Installing PyTorch into $(VENV): several GB where pip takes the build with CUDA from"; \
	  echo "its default index; 0.2 GB for a CPU if PIP_EXTRA_INDEX_URL names PyTorch's CPU index."; \
	  $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,race]' || \
	  echo "PyTorch could not be installed"; }

clean:
	rm -rf $(VENV) build dist *.egg-info
