# Everything runs in .venv, made from requirements-dev.lock by the first target that needs it.
# requirements.lock is its part that a session needs: stn-core[suite,report,tensorboard].
# PYTHON names the interpreter; without it python3, or another that uv finds where that one is too
# old or too new. ARGS goes to pytest: make bench ARGS="--seeds 5".

SUITABLE := >=3.11,<3.15
RESOLUTION ?= highest
BIN := .venv/bin
INSTALLED := .venv/.installed
ARGS :=
RESULTS :=
# A cell that passed here once, from a clean checkout, is recognised after one seed. CI jobs name a
# cache of their own.
REMEMBER := $(if $(CI),,--digest-cache .stn/digests.json --update-digests)
UPGRADE :=
# With it, each process would compile torch's files again, which takes longer than training a small
# model.
unexport PYTHONDONTWRITEBYTECODE
COMPILE = $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --resolution $(RESOLUTION) --quiet

.PHONY: bench test nightly lint docs install lock dist clean

bench: $(INSTALLED)  ## train and judge the nine core models on the embedded digits, on the CPU
	$(BIN)/pytest benchmarks -m core -n 2 --device cpu $(REMEMBER) $(ARGS)

test: $(INSTALLED)  ## the property tests, shuffled; ARGS=--randomly-seed=N repeats an order
	$(BIN)/pytest tests -n 2 --dist worksteal -p randomly $(ARGS)

nightly: $(INSTALLED)  ## the tests that take longer than make test has
	$(BIN)/pytest tests -m nightly -n 2 --dist loadscope --durations 15 $(ARGS)

lint: $(INSTALLED)  ## ruff, mypy, shell scripts, and the schemas of workflows, containers, clusters
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-actions action.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose*.yaml
	$(BIN)/check-jsonschema docs/clusters/ray-up.yaml \
		--schemafile $$(echo .venv/lib/python*/site-packages/ray/autoscaler/ray-schema.json)
	$(BIN)/shellcheck .ci/run docs/clusters/*.sh
	! test -x $(BIN)/hadolint || $(BIN)/hadolint Dockerfile

docs: $(INSTALLED)  ## site/html: the documentation; RESULTS=results/...: with that session's report
	$(BIN)/python -m docs.website.build $(if $(RESULTS),--results $(RESULTS))

install: $(INSTALLED)  ## the environment, without running anything else

lock: $(BIN)/uv  ## adapt both locks to pyproject.toml; UPGRADE=--upgrade: to the newest of all packages
	$(COMPILE) $(UPGRADE) --extra suite --extra report --extra tensorboard \
		--output-file requirements.lock
	$(COMPILE) $(UPGRADE) --extra dev --constraints requirements.lock \
		--output-file requirements-dev.lock

dist: $(INSTALLED)  ## dist/: the wheel and the source distribution, checked
	rm -rf dist
	$(BIN)/uv build --quiet
	$(BIN)/twine check --strict dist/*

clean:  ## remove the environment
	rm -rf .venv

$(BIN)/uv:
	$(or $(PYTHON),python3) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
ifndef PYTHON
	@{ found=$$($(BIN)/uv python find --no-project '$(SUITABLE)') || { \
		$(BIN)/uv python install 3.14 && found=$$($(BIN)/uv python find --no-project 3.14); }; \
	} 2>/dev/null || { rm -rf .venv; \
		echo "Python 3.11 to 3.14 is needed: make PYTHON=/path/to/python3"; exit 1; }; \
	case $$found in */.venv/*) ;; *) "$$found" -m venv --clear .venv && \
		$(BIN)/python -m pip install --quiet uv ;; esac
endif

$(INSTALLED): requirements-dev.lock pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@
