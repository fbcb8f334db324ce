# make ecg: set up and run the main job. make test: set up and run the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUTPUT ?= results/ecg
ARGS ?=

.PHONY: ecg test lint clean

ecg: $(VENV)/.ecg
	$(BIN)/python -m benchmarks.ecg --output $(OUTPUT) $(ARGS)

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# a stamp for each set of extras, renewed when pyproject.toml changes
$(VENV)/.ecg: pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'convexnn needs Python 3.11 or newer: make PYTHON=...')"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[data]"
	touch $@

$(VENV)/.test: $(VENV)/.ecg
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	touch $@

clean:
	rm -rf $(VENV) results build *.egg-info
