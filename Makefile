# Every verb makes its own environment first; nothing has to be installed by hand but Python 3.11 or newer.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: demo test check bench docs clean

demo: $(VENV)/demo.stamp
	$(BIN)/python examples/demo.py

test: $(VENV)/test.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist worksteal

check: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/demo.stamp
	$(BIN)/python benchmarks/quality.py --quick --out build/quality.json

docs: $(VENV)/made.stamp
	$(BIN)/python -m pip install --quiet 'mkdocs>=1.6,<2'
	$(BIN)/python -m mkdocs build --strict --quiet
	@echo build/docs/index.html

$(VENV)/made.stamp:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "selfsight needs Python 3.11 or newer; call: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

$(VENV)/demo.stamp: pyproject.toml $(VENV)/made.stamp
	$(BIN)/python -m pip install --quiet -e '.[demo]'
	touch $@

$(VENV)/test.stamp: pyproject.toml $(VENV)/made.stamp
	$(BIN)/python -m pip install --quiet -e '.[demo,test]'
	touch $@

clean:
	rm -rf $(VENV) build demo
