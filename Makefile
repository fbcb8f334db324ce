# make ecg: set up and run the main job. make test: set up and run the tests. make test-long: the
# long ones (docs/robustness.rst). make docs: set up and build docs/_build/html.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUTPUT ?= results/ecg
ARGS ?=

.PHONY: ecg test test-long lint docs clean

ecg: $(VENV)/.ecg
	$(BIN)/python -m benchmarks.ecg --output $(OUTPUT) $(ARGS)

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -n 2

# half an hour on two processors; CONVEXNN_LONG=0.05 runs a twentieth, ARGS go to pytest
test-long: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 $(ARGS) tests/long

lint: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# warnings are errors; the gallery runs every example
docs: $(VENV)/.docs
	$(BIN)/sphinx-build -b html -W --keep-going $(ARGS) docs docs/_build/html

# a stamp for each set of extras, renewed when pyproject.toml changes
$(VENV)/.ecg: pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'convexnn needs Python 3.11 or newer: make PYTHON=...')"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[data]"
	touch $@

$(VENV)/.test: $(VENV)/.ecg
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	touch $@

$(VENV)/.docs: $(VENV)/.ecg
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) results build *.egg-info docs/_build docs/auto_examples docs/api/generated
