# make demo    publish models of all nine classic formats, list them, copy one, fetch it, compare bytes
# make test    every test that needs no cluster
# make check   style, types, direction of imports, generated files
# make bench   figures against peers, as ratios
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
# What pytest gets besides the defaults, e.g. make test PYTEST="-k onnx".
PYTEST ?=

.PHONY: demo test check bench format generate clean

$(VENV)/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@# mypy does not follow the editable install's import hook: show it the packages under their names.
	mkdir -p $(VENV)/typing/klever
	for room in api steps workflows; do ln -sfn "$(CURDIR)/$$room" $(VENV)/typing/klever/$$room; done
	$(BIN)/python -m compileall -q api steps workflows
	touch $@

demo: $(VENV)/.ready
	PATH="$(abspath $(BIN)):$$PATH" ./examples/demo.sh

test: $(VENV)/.ready
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(PYTEST)

check: $(VENV)/.ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	MYPYPATH=$(VENV)/typing $(BIN)/mypy -p klever.steps -p klever.workflows -p klever.api
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

format: $(VENV)/.ready
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

generate: $(VENV)/.ready
	$(BIN)/python docs/generate.py

bench: $(VENV)/.ready
	$(BIN)/python bench/run.py

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
