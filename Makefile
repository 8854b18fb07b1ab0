# Everything runs in .venv, made from requirements.lock by the first target that needs it.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: bench test lint lock clean

bench: $(INSTALLED)  ## train and judge the nine core models on the embedded digits
	$(BIN)/pytest benchmarks -m core -n 2

test: $(INSTALLED)  ## the laws
	$(BIN)/pytest tests -n 2

lint: $(INSTALLED)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock: $(BIN)/uv  ## renew requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --no-emit-index-url --upgrade \
		--quiet --output-file requirements.lock

clean:  ## remove the environment
	rm -rf .venv

$(BIN)/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv

$(INSTALLED): requirements.lock pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@
