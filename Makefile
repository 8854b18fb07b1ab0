# Everything runs in .venv, made from requirements.lock by the first target that needs it.
# ARGS goes to pytest: make bench ARGS="--seeds 5".

PYTHON ?= python3
RESOLUTION ?= highest
BIN := .venv/bin
INSTALLED := .venv/.installed
ARGS :=

.PHONY: bench test lint install lock clean

bench: $(INSTALLED)  ## train and judge the nine core models on the embedded digits, on the CPU
	$(BIN)/pytest benchmarks -m core -n 2 --device cpu $(ARGS)

test: $(INSTALLED)  ## the laws
	$(BIN)/pytest tests -n 2 $(ARGS)

lint: $(INSTALLED)  ## ruff, mypy and the workflows' schema
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

install: $(INSTALLED)  ## the environment, for a command of one's own

lock: $(BIN)/uv  ## renew requirements.lock; RESOLUTION=lowest-direct: the oldest versions allowed
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --no-emit-index-url --upgrade \
		--resolution $(RESOLUTION) --quiet --output-file requirements.lock

clean:  ## remove the environment
	rm -rf .venv

$(BIN)/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv

$(INSTALLED): requirements.lock pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@
